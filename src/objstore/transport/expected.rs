//! What the connector keeps of a request until its answer has come: what belongs into that answer, and how much.

use aws_smithy_types::body::SdkBody;
use http::{Method, Request};

use super::answer::Success;
use crate::error::Kind;

/// A page of 1,000 keys of 1,024 bytes, each of them escaped twice, has some 7 MB.
const PAGE_MAX: usize = 16 << 20;
/// All other documents have a few hundred bytes; some servers send white space until they know what to say.
const DOCUMENT_MAX: usize = 1 << 20;
/// S3's errors have some 500 bytes, those of proxies are pages for people.
pub const ERROR_BODY_MAX: usize = 1 << 20;

/// The request, as far as its answer is judged by it.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    method: AskedMethod,
    success: Success,
    /// GetObjectAttributes: who does not know the call takes it for a plain GET, and sends the object.
    attributes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskedMethod {
    Head,
    Get,
    Other,
}

impl Asked {
    /// S3 answers with a document whatever is read that is no object, and all posts, and copies. Objects themselves go past the
    /// SDK: see [`super::body`].
    pub fn of(request: &Request<SdkBody>) -> Self {
        let copies = request.headers().contains_key("x-amz-copy-source");
        let (method, success) = match *request.method() {
            Method::HEAD => (AskedMethod::Head, Success::Nothing),
            Method::GET => (AskedMethod::Get, Success::Document),
            Method::POST => (AskedMethod::Other, Success::DocumentOrError),
            Method::PUT if copies => (AskedMethod::Other, Success::DocumentOrError),
            _ => (AskedMethod::Other, Success::Nothing),
        };
        let mut query = request.uri().query().unwrap_or_default().split('&');
        Self {
            method,
            success,
            attributes: query.any(|pair| matches!(pair, "attributes" | "attributes=")),
        }
    }

    pub fn success(self) -> Success {
        self.success
    }

    pub fn is_head(self) -> bool {
        self.method == AskedMethod::Head
    }

    /// The longest body that a success can have.
    pub fn body_max(self) -> usize {
        if self.method == AskedMethod::Get && !self.attributes {
            PAGE_MAX
        } else {
            DOCUMENT_MAX
        }
    }

    /// What a success is that is no document, or has no end: an accident, or a store that does not know the call.
    pub fn foreign(self) -> Kind {
        if self.attributes {
            Kind::Unsupported
        } else {
            Kind::Unavailable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_posted_or_copied_is_answered_with_a_document() {
        let asked = |method: &str, copies: bool| {
            let request = Request::builder().method(method).uri("/b?list-type=2");
            let request = if copies {
                request.header("x-amz-copy-source", "b/k")
            } else {
                request
            };
            Asked::of(&request.body(SdkBody::empty()).unwrap())
        };
        assert_eq!(asked("GET", false).success(), Success::Document);
        assert_eq!(asked("POST", false).success(), Success::DocumentOrError);
        assert_eq!(asked("PUT", true).success(), Success::DocumentOrError);
        assert_eq!(
            ["PUT", "DELETE", "HEAD"].map(|method| asked(method, false).success()),
            [Success::Nothing; 3]
        );
        assert!(asked("HEAD", false).is_head() && asked("PUT", false).body_max() < asked("GET", false).body_max());
    }

    #[test]
    fn who_does_not_know_get_object_attributes_may_send_the_object() {
        let kind = |uri: &str| Asked::of(&Request::builder().uri(uri).body(SdkBody::empty()).unwrap()).foreign();
        assert_eq!(kind("/b/k?attributes"), Kind::Unsupported);
        assert_eq!(kind("/b/k?attributes=&x-id=GetObjectAttributes"), Kind::Unsupported);
        assert_eq!(
            ["/b/k?retention", "/b/attributes", "/b"].map(kind),
            [Kind::Unavailable; 3]
        );
    }
}
