//! Image lists: a filter in, one image at a time out.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::FutureExt;

use super::abi::to_field;
use super::abi::{
    STSP_II_IMAGE_CREATED, STSP_II_IMAGE_PENDING, STSP_LISTF_COMPLETE, STSP_LISTF_PENDING, stsp_image_entry_t,
    stsp_image_filter_t,
};
use super::bridge;
use super::bridge::Place;
use super::pointers::field;
use super::server::{Child, Server};
use crate::catalog::format::escape::Name;
use crate::catalog::format::image_id::DATE_MAX;
use crate::catalog::list::{Filter, Listed, Listing};
use crate::catalog::lsu::Lsu;
use crate::error::{Error, Kind, Result};

/// A list under way.
pub struct ImageList {
    lsu: Lsu,
    listing: Place<Listing>,
    /// What the last page had and the host has not taken yet.
    ready: VecDeque<Listed>,
    subject: String,
    child: Child,
}

impl ImageList {
    pub fn open(child: Child, lsu: &Lsu, filter: Option<&stsp_image_filter_t>) -> Result<Self> {
        let filter = filter.map(to_filter).transpose()?.unwrap_or_default();
        let subject = format!("LSU {}", lsu.config().name);
        Ok(Self {
            lsu: lsu.clone(),
            listing: Place::new(Listing::new(lsu, filter)),
            ready: VecDeque::new(),
            subject,
            child,
        })
    }

    pub fn next_entry(&mut self) -> Result<stsp_image_entry_t> {
        let listed = loop {
            if let Some(listed) = self.ready.pop_front() {
                break listed;
            }
            let page = bridge::lend(&self.lsu, &mut self.listing, |listing| listing.next_page().boxed())?;
            let end = || Error::new(Kind::NoMoreEntries, "the image list has no further entry");
            self.ready = page.ok_or_else(end)?.into();
        };
        Ok(stsp_image_entry_t {
            struct_size: 0,
            flags: if listed.pending {
                STSP_II_IMAGE_PENDING
            } else {
                STSP_II_IMAGE_CREATED
            },
            date: listed.id.date,
            basename: to_field(listed.id.basename.as_bytes()),
        })
    }

    pub fn subject(&self) -> &str {
        &self.subject
    }

    pub fn server(&self) -> &Arc<Server> {
        self.child.server()
    }
}

fn to_filter(given: &stsp_image_filter_t) -> Result<Filter> {
    let known = STSP_LISTF_COMPLETE | STSP_LISTF_PENDING;
    if given.flags & !known != 0 {
        let what = format!(
            "filter.flags {:#x}: only STSP_LISTF_COMPLETE and STSP_LISTF_PENDING are known",
            given.flags
        );
        return Err(Error::new(Kind::InvalidArgument, what));
    }

    let flags = if given.flags == 0 { known } else { given.flags };
    let date_to = if given.date_to == 0 { DATE_MAX } else { given.date_to };
    if given.date_from > date_to {
        let what = format!(
            "filter.date_from {} is later than filter.date_to {date_to}",
            given.date_from
        );
        return Err(Error::new(Kind::InvalidArgument, what));
    }

    let client = field(&given.client, "filter.client")?;
    Ok(Filter {
        client: (!client.is_empty()).then(|| Name::new(client)),
        basename_prefix: Name::new(field(&given.basename_prefix, "filter.basename_prefix")?),
        date_from: given.date_from,
        date_to,
        complete: flags & STSP_LISTF_COMPLETE != 0,
        pending: flags & STSP_LISTF_PENDING != 0,
    })
}
