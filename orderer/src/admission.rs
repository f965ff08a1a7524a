//! Admission: which envelopes may be ordered.
//!
//! The checks stand here in the order in which Fabric makes them, since their statuses and
//! texts are part of the protocol. They look at who sends and how much, never at what a
//! transaction says. What is admitted is the canonical encoding of the envelope: receivers
//! refuse a block whose entries are encoded in any other way.
//!
//! Sources: Fabric `orderer/common/{broadcast,msgprocessor,multichannel}`.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use metrics::Label;
use prost::Message;
use rayon::prelude::*;
use ripstop_channel::ChannelConfig;
use ripstop_msp::SignedBytes;
use ripstop_proto::common::{ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader, Status};
use ripstop_proto::envelope;
use tokio::sync::oneshot;

use crate::chain::Order;
use crate::channel::Channel;
use crate::channels::Channels;

const WRITERS: &str = "/Channel/Writers";
const UNKNOWN: &str = "unknown";
/// Length of the longest id that a channel may have.
const CHANNEL_ID_CHARS_MAX: usize = 249;

/// An envelope that may be ordered on a channel.
pub(crate) struct Admitted {
    pub(crate) channel: Arc<Channel>,
    pub(crate) order: Order,
}

/// The answer to an envelope that may not be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: Status,
    pub(crate) info: String,
}

/// What an envelope says it is.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) channel_id: String,
    /// Whether that channel is here; other names are the client's and no label of a metric.
    is_here: bool,
    /// The name of its header type.
    pub(crate) kind: &'static str,
}

/// What became of one envelope.
pub(crate) struct Judged {
    pub(crate) subject: Subject,
    pub(crate) verdict: Result<Admitted, Refused>,
}

impl Subject {
    fn unreadable() -> Self {
        Self { channel_id: UNKNOWN.to_owned(), is_here: false, kind: UNKNOWN }
    }

    /// The channel's name for the log, cut off where no channel's name goes on.
    pub(crate) fn channel_text(&self) -> &str {
        let end = self.channel_id.char_indices().nth(CHANNEL_ID_CHARS_MAX).map(|(end, _)| end);
        &self.channel_id[..end.unwrap_or(self.channel_id.len())]
    }

    /// The labels under which an answer is counted.
    pub(crate) fn labels(&self, status: Status) -> Vec<Label> {
        let channel_id = if self.is_here { self.channel_id.as_str() } else { UNKNOWN };
        let status = Label::new("status", status.as_str_name());
        vec![Label::new("channel", channel_id.to_owned()), Label::new("type", self.kind), status]
    }
}

impl Refused {
    pub(crate) fn new(status: Status, info: impl Into<String>) -> Self {
        Self { status, info: info.into() }
    }
}

/// Judges envelopes on all cores; the verdicts in their order. None at all if a check broke.
pub(crate) async fn judge_all(channels: Arc<Channels>, envelopes: Vec<Candidate>) -> Vec<Judged> {
    let (judged, verdicts) = oneshot::channel();
    let now = SystemTime::now();
    rayon::spawn(move || {
        let judge_all = || match envelopes.len() {
            1 => envelopes.into_iter().map(|envelope| envelope.judge(&channels, now)).collect(),
            _ => envelopes.into_par_iter().map(|envelope| envelope.judge(&channels, now)).collect(),
        };
        // A panic here would end the process; so it ends the stream, and nothing is ordered.
        if let Ok(verdicts) = catch_unwind(AssertUnwindSafe(judge_all)) {
            // The stream may have ended meanwhile.
            let _ = judged.send(verdicts);
        }
    });
    verdicts.await.unwrap_or_default()
}

/// What a client wants ordered.
pub(crate) enum Candidate {
    /// An envelope of a Broadcast stream.
    Envelope(Envelope),
    /// An item of an Ordering stream: the channel it names, and the bytes of an envelope.
    Item(String, Bytes),
}

impl Candidate {
    fn judge(self, channels: &Channels, now: SystemTime) -> Judged {
        match self {
            Self::Envelope(envelope) => judge(channels, envelope, None, now),
            Self::Item(channel_id, bytes) => judge_item(channels, &channel_id, bytes, now),
        }
    }
}

fn judge_item(channels: &Channels, stated: &str, bytes: Bytes, now: SystemTime) -> Judged {
    let refuse =
        |info: String| Judged { subject: Subject::unreadable(), verdict: Err(Refused::new(Status::BadRequest, info)) };
    let envelope = match Envelope::decode(bytes.clone()) {
        Ok(envelope) => envelope,
        Err(error) => return refuse(format!("envelope does not decode: {error}")),
    };
    let judged = judge(channels, envelope, Some(bytes), now);
    match stated == judged.subject.channel_id || judged.verdict.is_err() {
        true => judged,
        false => {
            refuse(format!("the item is for channel {stated}, its envelope for channel {}", judged.subject.channel_id))
        }
    }
}

/// `bytes`: what the envelope was decoded from, if that is at hand.
fn judge(channels: &Channels, envelope: Envelope, bytes: Option<Bytes>, now: SystemTime) -> Judged {
    let (header, channel_header) = match headers(&envelope) {
        Ok(headers) => headers,
        Err(cause) => {
            let refused = Refused::new(Status::BadRequest, format!("could not determine channel ID: {cause}"));
            return Judged { subject: Subject::unreadable(), verdict: Err(refused) };
        }
    };
    let kind = HeaderType::try_from(channel_header.r#type).map_or(UNKNOWN, |kind| kind.as_str_name());
    let channel = channels.get(&channel_header.channel_id);
    let is_here = channel.is_some();
    let verdict = match channel {
        None => Err(Refused::new(Status::BadRequest, "channel does not exist")),
        Some(channel) => {
            let config = channel.config();
            classify(&channel_header)
                .and_then(|()| check(&config, &envelope, &header, now))
                .map(|()| Admitted { channel, order: order(&envelope, bytes, config.sequence()) })
        }
    };
    Judged { subject: Subject { channel_id: channel_header.channel_id, is_here, kind }, verdict }
}

fn order(envelope: &Envelope, bytes: Option<Bytes>, config_sequence: u64) -> Order {
    let canonical = bytes.filter(|bytes| envelope::canonical(bytes).is_ok());
    let bytes = canonical.unwrap_or_else(|| envelope.encode_to_vec().into());
    Order { envelope: bytes, size: envelope::size(envelope), config_sequence }
}

fn headers(envelope: &Envelope) -> Result<(Header, ChannelHeader), String> {
    let payload = Payload::decode(envelope.payload.clone()).map_err(|error| format!("bad payload: {error}"))?;
    let header = payload.header.ok_or("payload has no header")?;
    let channel_header =
        ChannelHeader::decode(header.channel_header.clone()).map_err(|error| format!("bad channel header: {error}"))?;
    Ok((header, channel_header))
}

fn classify(channel_header: &ChannelHeader) -> Result<(), Refused> {
    let refuse = |status, info: &str| Err(Refused::new(status, info));
    match HeaderType::try_from(channel_header.r#type) {
        Ok(HeaderType::ConfigUpdate) => refuse(
            Status::NotImplemented,
            "CONFIG_UPDATE: this orderer does not implement updates of a channel's configuration yet",
        ),
        Ok(HeaderType::Config) => refuse(Status::BadRequest, "message is of type that cannot be processed directly"),
        Ok(HeaderType::OrdererTransaction) => {
            refuse(Status::BadRequest, "message is of type that is no longer supported")
        }
        _ => Ok(()),
    }
}

fn check(config: &ChannelConfig, envelope: &Envelope, header: &Header, now: SystemTime) -> Result<(), Refused> {
    let refuse = |status, info: String| Err(Refused::new(status, info));
    let Some(orderer) = config.orderer() else {
        return refuse(Status::BadRequest, "the channel's configuration has no Orderer group".to_owned());
    };
    if orderer.maintenance {
        return refuse(Status::ServiceUnavailable, "normal transactions are rejected: maintenance mode".to_owned());
    }
    if envelope.payload.is_empty() {
        return refuse(Status::BadRequest, "Message was empty".to_owned());
    }
    let (size, size_max) = (envelope::size(envelope), orderer.batch_size.absolute_max_bytes);
    if size > size_max as usize {
        let info = format!("message payload is {size} bytes and exceeds maximum allowed {size_max} bytes");
        return refuse(Status::BadRequest, info);
    }
    let SignatureHeader { creator, .. } = match SignatureHeader::decode(header.signature_header.clone()) {
        Ok(signature_header) => signature_header,
        Err(error) => {
            return refuse(Status::BadRequest, format!("could not convert message to signedData: {error}"));
        }
    };
    // An identity that cannot be read never expires; the policy refuses it.
    if config.msps().read(&creator).is_ok_and(|identity| identity.is_expired(now)) {
        return refuse(Status::BadRequest, "broadcast client identity expired".to_owned());
    }
    if envelope.signature.is_empty() {
        // Even where the policy asks for nobody: peers refuse a block with an unsigned entry.
        return refuse(Status::Forbidden, "the envelope is not signed: permission denied".to_owned());
    }
    let signed =
        SignedBytes { identity: &creator, message: Cow::Borrowed(&envelope.payload), signature: &envelope.signature };
    config
        .check(WRITERS, &[signed])
        .map_err(|error| Refused::new(Status::Forbidden, format!("{error}: permission denied")))
}
