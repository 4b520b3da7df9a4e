//! `ls`: the LSUs, or the images of one, page by page: a bucket of millions of images takes no more memory than one.
//!
//! An image whose delete was interrupted is shown as `deleting`. `--quiet` prints only the names of images that
//! `get` can read, escaped so that every command accepts them and no name contains a line end.

mod lsus;

use std::collections::VecDeque;
use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use vastost::catalog::format::escape::Name;
use vastost::catalog::format::image_id::DATE_MAX;
use vastost::catalog::list::{Filter, Listed, Listing};
use vastost::catalog::lsu::Lsu;
use vastost::catalog::records::Described;
use vastost::error::Kind;

use crate::args::{Global, Ls};
use crate::image::Shown;
use crate::name::{split, to_name, typed};
use crate::output;
use crate::output::{complain, counted, human_size, line, raw, utc};
use crate::site::Site;
use crate::wait::wait;
use crate::{COULD_NOT_RUN, Outcome, chain};

/// Records fetched at once.
const RECORDS_AT_ONCE: usize = 16;

type Done = Result<(), Box<dyn Error>>;

pub fn run(global: &Global, args: &Ls) -> Outcome {
    let Some(place) = &args.place else {
        return lsus::run(global, args);
    };
    let (lsu, prefix) = split(place)?;
    let catalog = Site::open(global)?.catalog()?;
    let lsu = catalog.lsu(&lsu)?;
    let prefix = prefix.unwrap_or_default();
    let listing = Few {
        listing: Listing::new(&lsu, filter(args, prefix)),
        ready: VecDeque::new(),
    };
    let is_whole = prefix.is_empty() && !has_filter(args);
    images(
        Printer {
            is_whole,
            ..Printer::new(global, args)
        },
        &lsu,
        listing,
    )
}

fn filter(args: &Ls, prefix: &[u8]) -> Filter {
    Filter {
        client: args.client.as_ref().map(to_name),
        basename_prefix: Name::new(typed(prefix)),
        date_from: args.since.unwrap_or(0),
        date_to: args.until.unwrap_or(DATE_MAX),
        complete: !args.pending,
        pending: !args.complete,
    }
}

fn has_filter(args: &Ls) -> bool {
    args.client.is_some() || args.since.is_some() || args.until.is_some() || args.pending || args.complete
}

fn images(mut printer: Printer, lsu: &Lsu, mut listing: Few) -> Outcome {
    printer.begin()?;
    loop {
        let described = wait(lsu, async {
            let few = listing.next().await?;
            Ok((few.is_empty(), describe_all(lsu, few).await))
        });
        let (ended, page) = match described {
            Ok(page) => page,
            Err(error) => return printer.fail(&error),
        };
        if ended {
            return printer.end(lsu);
        }
        for (listed, image) in page {
            match image {
                Ok(image) => printer.print(&Shown::new(lsu, &image))?,
                // Deleted between the listing and the record.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) if error.kind() == Kind::Corrupt => printer.unreadable(lsu, &listed, &error),
                Err(error) => return printer.fail(&error),
            }
        }
    }
}

/// A listing, as many images at once as are described at once.
struct Few {
    listing: Listing,
    ready: VecDeque<Listed>,
}

impl Few {
    /// None at the end.
    async fn next(&mut self) -> vastost::error::Result<Vec<Listed>> {
        while self.ready.len() < RECORDS_AT_ONCE {
            let Some(page) = self.listing.next_page().await? else {
                break;
            };
            self.ready.extend(page);
        }
        let count = self.ready.len().min(RECORDS_AT_ONCE);
        Ok(self.ready.drain(..count).collect())
    }
}

type Page = Vec<(Listed, vastost::error::Result<Described>)>;

async fn describe_all(lsu: &Lsu, few: Vec<Listed>) -> Page {
    let described = few.iter().map(|listed| lsu.describe_any(&listed.id));
    let described = futures::future::join_all(described).await;
    few.into_iter().zip(described).collect()
}

/// How images are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    /// Names, each followed by these bytes.
    Names(&'static [u8]),
    Table,
}

/// Prints images as they come, and the summary at the end.
struct Printer {
    form: Form,
    /// The user wants only images that were never complete.
    pending: bool,
    /// The user wants only complete images.
    complete: bool,
    /// The user wants all images of the LSU.
    is_whole: bool,
    quiet: bool,
    count: u64,
    bytes: u64,
    unreadable: u64,
}

impl Printer {
    fn new(global: &Global, args: &Ls) -> Self {
        let form = match (global.json, args.print0, global.quiet) {
            (true, ..) => Form::Json,
            (_, true, _) => Form::Names(b"\0"),
            (_, _, true) => Form::Names(b"\n"),
            _ => Form::Table,
        };
        let pending = args.pending;
        let complete = args.complete;
        let quiet = global.quiet;
        Self {
            form,
            pending,
            complete,
            is_whole: false,
            quiet,
            count: 0,
            bytes: 0,
            unreadable: 0,
        }
    }

    fn begin(&self) -> Done {
        if self.form == Form::Json {
            raw(b"{\"schema\":1,\"images\":[")
        } else {
            Ok(())
        }
    }

    fn print(&mut self, image: &Shown) -> Done {
        // The state may have changed since the listing.
        let is_complete = image.state == "complete";
        if (self.complete && !is_complete) || (self.pending && is_complete) {
            return Ok(());
        }
        match self.form {
            Form::Json => {
                let comma = if self.count > 0 { ",\n" } else { "\n" };
                raw(format!("{comma}{}", output::json_text(image)?).as_bytes())?;
            }
            Form::Names(_) if !image.can_be_read() && !self.pending => return Ok(()),
            Form::Names(end) => {
                let mut name = format!("{}/{}:{}", image.lsu, image.basename, image.date).into_bytes();
                name.extend_from_slice(end);
                raw(&name)?;
            }
            Form::Table => {
                if self.count == 0 {
                    line(&format!("{:<20}  {:<9}  {:>10}  BASENAME", "DATE", "STATE", "SIZE"))?;
                }
                let date = utc(image.date);
                let state = image.state;
                let size = human_size(image.size);
                line(&format!("{date:<20}  {state:<9}  {size:>10}  {}", image.name()))?;
            }
        }

        self.count += 1;
        self.bytes = self.bytes.saturating_add(image.size);
        Ok(())
    }

    /// A damaged record: the others are listed, and the exit code says that one is missing.
    fn unreadable(&mut self, lsu: &Lsu, listed: &Listed, error: &vastost::error::Error) {
        self.unreadable += 1;
        complain(&format!(
            "{}/{} cannot be listed: {}",
            lsu.config().name,
            listed.id,
            chain(error)
        ));
    }

    /// The listing broke off: the document is closed and says so.
    fn fail(&self, error: &vastost::error::Error) -> Outcome {
        let text = chain(error);
        if self.form == Form::Json {
            let error = output::json_text(&format!("the list is not complete: {text}"))?;
            raw(format!("\n],\"error\":{error}}}\n").as_bytes())?;
        }
        match self.count {
            0 => complain(&text),
            count => complain(&format!("the list ends after {}: {text}", counted(count, "image"))),
        }
        Ok(ExitCode::from(COULD_NOT_RUN))
    }

    fn end(&self, lsu: &Lsu) -> Outcome {
        if self.form == Form::Json {
            let records = counted(self.unreadable, "record");
            let error = output::json_text(&format!("the list is not complete: {records} cannot be read"))?;
            let end = if self.unreadable == 0 {
                "\n]}\n".to_owned()
            } else {
                format!("\n],\"error\":{error}}}\n")
            };
            raw(end.as_bytes())?;
        } else if self.count == 0 {
            // An unreadable record was reported, and may be the wanted image.
            if self.unreadable == 0 && !self.quiet {
                output::hint(&self.nothing(&lsu.config().name));
            }
        } else if self.form == Form::Table && std::io::stderr().is_terminal() {
            output::flush()?;
            output::hint(&format!("{}, {}", counted(self.count, "image"), human_size(self.bytes)));
        }

        Ok(if self.unreadable == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(COULD_NOT_RUN)
        })
    }

    fn nothing(&self, lsu: &str) -> String {
        if self.is_whole {
            format!("LSU {lsu} is empty")
        } else {
            format!("no image in LSU {lsu} matches")
        }
    }
}
