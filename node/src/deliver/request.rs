//! A signed envelope to a checked request. Pure: the time and the caller's TLS certificate
//! are arguments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common::{ChannelHeader, Envelope, Status};
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::orderer::SeekInfo;

use super::{Refusal, Seek};

/// What a node demands of requests.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How far a request's timestamp may be from our clock, either way.
    pub time_window: Duration,
    /// Whether requests must name the hash of the caller's TLS certificate. Set it where
    /// client certificates are demanded, nowhere else.
    pub tls_binding: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { time_window: Duration::from_secs(15 * 60), tls_binding: false }
    }
}

/// A request whose form is right; nothing is said of its signature yet.
#[derive(Debug, Clone)]
pub struct Request {
    /// The channel.
    pub channel_id: String,
    /// The bytes that were signed: the envelope's payload.
    pub message: Bytes,
    /// The signature over them.
    pub signature: Bytes,
    /// The creator, a `SerializedIdentity`.
    pub identity: Bytes,
    data: Bytes,
}

impl Request {
    /// Opens and checks an envelope. `certificate_hash`: SHA-256 of the caller's TLS
    /// certificate, if it showed one.
    ///
    /// # Errors
    /// BAD_REQUEST.
    pub fn open(
        envelope: Envelope,
        terms: &Terms,
        now: SystemTime,
        certificate_hash: Option<[u8; 32]>,
    ) -> Result<Self, Refusal> {
        let refuse = |reason: String| Refusal::new(Status::BadRequest, reason);
        let open = OpenEnvelope::from_envelope(envelope).map_err(|error| refuse(error.to_string()))?;
        check_time(&open.channel_header, terms.time_window, now).map_err(refuse)?;
        if terms.tls_binding {
            check_binding(&open.channel_header.tls_cert_hash, certificate_hash).map_err(refuse)?;
        }
        Ok(Self {
            channel_id: open.channel_header.channel_id,
            message: open.envelope.payload,
            signature: open.envelope.signature,
            identity: open.signature_header.creator,
            data: open.payload.data,
        })
    }

    /// What is sought.
    ///
    /// # Errors
    /// BAD_REQUEST.
    pub fn seek(&self) -> Result<Seek, Refusal> {
        let info = SeekInfo::decode(self.data.clone())
            .map_err(|error| Refusal::new(Status::BadRequest, format!("seek info does not decode: {error}")))?;
        Ok(info.into())
    }
}

fn check_time(header: &ChannelHeader, window: Duration, now: SystemTime) -> Result<(), String> {
    let Some(timestamp) = &header.timestamp else {
        return Err("channel header has no timestamp".to_owned());
    };
    let now = i128::try_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(i128::MAX);
    let sent = i128::from(timestamp.seconds) * 1_000_000_000 + i128::from(timestamp.nanos);
    if (now - sent).unsigned_abs() > window.as_nanos() {
        let seconds = (sent - now) / 1_000_000_000;
        return Err(format!(
            "timestamp is {seconds} s from this node's clock, {} s are allowed; set the clocks",
            window.as_secs()
        ));
    }
    Ok(())
}

fn check_binding(claimed: &[u8], shown: Option<[u8; 32]>) -> Result<(), String> {
    match shown {
        _ if claimed.is_empty() => Err("channel header names no TLS certificate hash".to_owned()),
        None => Err("client showed no TLS certificate".to_owned()),
        Some(shown) if shown != claimed => {
            Err("channel header names another TLS certificate than the client's".to_owned())
        }
        Some(_) => Ok(()),
    }
}
