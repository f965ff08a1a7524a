//! What the log says of envelopes that are not ordered: anybody can send as many of them as
//! they like.

use std::time::Instant;

use ripstop_node::logging::Seldom;
use ripstop_proto::common::Status;

use crate::admission::Subject;

/// The refused envelopes of all streams.
#[derive(Default)]
pub(crate) struct Refusals(Seldom);

impl Refusals {
    pub(crate) fn log(&self, subject: &Subject, status: Status, info: &str) {
        let (channel, kind, status) = (subject.channel_text(), subject.kind, status.as_str_name());
        tracing::debug!(channel, kind, status, info, "an envelope was refused");
        if let Some(count) = self.0.note(Instant::now()) {
            tracing::warn!(
                count,
                channel,
                kind,
                status,
                info,
                "envelopes were refused; this is the newest, each is logged at debug"
            );
        }
    }
}
