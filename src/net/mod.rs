//! From an origin (scheme, host, port) to an HTTP/1.1 connection. Knows no S3 and no OST.
//!
//! | file | what it is |
//! |---|---|
//! | [`resolver`] | names to addresses; a recent answer is used while a new one is asked for |
//! | [`tls`] | whom we trust, under which name |
//! | [`http1`] | one HTTP/1.1 connection, whose stream can be taken off hyper for a large body |
//! | [`dialer`] | an address to a connection: TCP options, TLS, handshake |
//! | [`server_clock`] | what time it is for the server, from its `Date` headers |
//!
//! Left out: HTTP/2, proxies, Unix sockets. How it fails: with an error that names the origin and the address; nothing is
//! tried again here. Limits (time-outs, ages) are in [`crate::config`].

pub(crate) mod resolver;
pub mod tls;
pub(crate) mod http1;
pub(crate) mod dialer;
pub(crate) mod server_clock;
