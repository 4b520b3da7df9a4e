//! The connector under the SDK: it carries one request at a time on one HTTP/1.1 connection.
//!
//! | file | what it is |
//! |---|---|
//! | [`context`] | what travels through the SDK beside the request: extensions, response headers |
//! | [`effort`] | what one operation may cost: refusals by their number, silence by its time |
//! | [`expected`] | what belongs into the answer to a request, and how much of it |
//! | [`answer`] | whether an answer is whole, and is the one that was asked for |
//! | [`hedge_state`] | where the tries of one hedged request are |
//! | [`pace`] | how fast parts move, at one address and lately |
//! | [`health`] | how one address is doing: in use, in quarantine, on trial |
//! | [`balancer`] | which of the addresses of a server a request goes to |
//! | [`connections`] | the connections that wait for a request, and how many there may be |
//! | [`checkout`] | a connection with a request on it: chosen, dialled, answered, given back |
//! | [`body`] | the body of a ranged GET, read straight into the caller's memory |
//! | [`respond`] | what of an answer goes to the SDK, and what is believed of it |
//! | [`connector`] | [`connector::Transport`]: what the SDK calls |
//!
//! Left out: signing, parsing and retries, which are the SDK's. How it fails: with the SDK's `ConnectorError`, which
//! says whether the request may be sent again.

pub(crate) mod context;
pub(crate) mod effort;
pub(crate) mod expected;
pub mod answer;
pub(crate) mod hedge_state;
pub(crate) mod pace;
pub(crate) mod health;
pub(crate) mod balancer;
pub(crate) mod connections;
pub(crate) mod checkout;
pub(crate) mod body;
mod respond;
pub(crate) mod connector;
