//! What NetBackup relies on, through the C functions, on every server; and what the other tests rely on, by the SDK
//! ([`checksums`], [`listings`], [`locks`], [`versions`]), so that the embedded server does as real ones do.

/// What a store checks of bytes, and tells of them.
mod checksums;
/// Written, read, described; sizes, names, many at once.
mod images;
/// What proves the bytes, on the wire and on the way back.
mod integrity;
/// Lists of objects, uploads and parts.
mod listings;
/// Lists, filters, pages.
mod lists;
/// Object Lock.
mod locks;
/// LSUs and their properties.
mod lsus;
/// Images closed incomplete, opened again, finished elsewhere.
mod pending;
/// Every code that a caller can provoke.
mod status;
/// What becomes of an image whose writer died or fell silent; other processes are `vastost-s3 put`.
pub mod takeover;
/// Buckets that keep versions.
mod versions;
/// Where writes may go.
mod writes;

/// Runs each case against the embedded server and, with the feature, against MinIO.
macro_rules! on_every_server {
    ($($case:ident),* $(,)?) => {
        mod embedded {
            $(#[test] fn $case() { super::$case(&vastost_testkit::test_store::Wish::default()); })*
        }
        #[cfg(feature = "minio-tests")]
        mod minio {
            $(#[test] fn $case() { super::$case(&vastost_testkit::test_store::Wish { minio: true, ..Default::default() }); })*
        }
    };
}
pub(crate) use on_every_server;
