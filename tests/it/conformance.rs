//! What NetBackup relies on, through the C functions, on every server.

mod images;

/// Runs each case against the embedded server and, with the feature, against MinIO.
macro_rules! on_every_server {
    ($($case:ident),* $(,)?) => {
        mod embedded {
            $(#[test] fn $case() { super::$case(&crate::common::Wish::default()); })*
        }
        #[cfg(feature = "minio-tests")]
        mod minio {
            $(#[test] fn $case() { super::$case(&crate::common::Wish { minio: true, ..Default::default() }); })*
        }
    };
}
pub(crate) use on_every_server;
