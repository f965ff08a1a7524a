//! How nodes reach one another: gRPC over TLS 1.2 or later, HTTP/2 only.
//!
//! ```text
//! listener   accepts, shakes hands, bounds connections, ends them at shutdown
//! tls        certificate, key and client roots of a listener; replaceable while it runs
//! messages   where one gRPC message ends and the next begins
//! calls      counts and times of calls, under Fabric's metric names
//! intake     the budget of request bytes that a listener holds at one time
//! dialer     channels to advertised addresses, by the dial map
//! ```
//! It does not know which services it carries; they come as tonic [`Routes`], each with
//! its own message limit set to [`MESSAGE_BYTES_MAX`].
//!
//! [`Routes`]: tonic::service::Routes

mod calls;
mod connection;
mod dialer;
mod intake;
mod listener;
mod messages;
mod tls;

pub use dialer::{ClientIdentity, DialError, Dialer};
pub use listener::{Limits, Listener, ServeError, serve};
pub use tls::{ServerTls, TlsError};

/// Largest gRPC message, each way: services and clients set it as their decoding and
/// encoding limit, since tonic's own default for decoding is 4 MiB.
pub const MESSAGE_BYTES_MAX: usize = 100 * 1024 * 1024;

/// SHA-256 of the TLS certificate (DER) that the caller of `request` showed; none
/// without client authentication.
pub fn client_certificate_hash<T>(request: &tonic::Request<T>) -> Option<[u8; 32]> {
    let certificates = request.peer_certs()?;
    certificates.first().map(|certificate| ripstop_proto::hash::sha256(&[certificate.as_ref()]))
}

/// An error and its causes in one line; the transport's own texts only name the layer.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
