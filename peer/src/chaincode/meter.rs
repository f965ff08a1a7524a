//! Counts and times of what a contract asks for, under Fabric's metric names.
//!
//! A contract asks many times in a transaction, so its counters are looked up once.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Histogram, Label, counter, histogram};
use parking_lot::RwLock;
use ripstop_proto::protos::chaincode_message::Type;

/// Above the number of every message type.
const TYPES_MAX: usize = 32;

/// The meters of one contract's stream, by channel.
#[derive(Debug)]
pub(super) struct Meters {
    package_id: String,
    by_channel: RwLock<BTreeMap<String, Arc<ChannelMeters>>>,
}

/// The meters of one contract on one channel, by message type.
#[derive(Debug)]
pub(super) struct ChannelMeters {
    labels: Vec<Label>,
    by_type: [OnceLock<Meter>; TYPES_MAX],
}

#[derive(Debug)]
struct Meter {
    received: Counter,
    completed: [Counter; 2],
    duration: [Histogram; 2],
}

impl Meters {
    pub(super) fn new(package_id: &str) -> Self {
        Self { package_id: package_id.to_owned(), by_channel: RwLock::default() }
    }

    pub(super) fn of(&self, channel_id: &str) -> Arc<ChannelMeters> {
        if let Some(meters) = self.by_channel.read().get(channel_id) {
            return Arc::clone(meters);
        }
        let mut by_channel = self.by_channel.write();
        let meters = by_channel.entry(channel_id.to_owned()).or_insert_with(|| {
            let labels =
                vec![Label::new("channel", channel_id.to_owned()), Label::new("chaincode", self.package_id.clone())];
            Arc::new(ChannelMeters { labels, by_type: [const { OnceLock::new() }; TYPES_MAX] })
        });
        Arc::clone(meters)
    }
}

impl ChannelMeters {
    /// A request of this type has come.
    pub(super) fn received(&self, kind: Type) {
        if let Some(meter) = self.meter(kind) {
            meter.received.increment(1);
        }
    }

    /// It was answered after `elapsed`; `success`: not with an error.
    pub(super) fn completed(&self, kind: Type, success: bool, elapsed: Duration) {
        if let Some(meter) = self.meter(kind) {
            meter.completed[usize::from(success)].increment(1);
            meter.duration[usize::from(success)].record(elapsed.as_secs_f64());
        }
    }

    fn meter(&self, kind: Type) -> Option<&Meter> {
        let place = self.by_type.get(usize::try_from(kind as i32).ok()?)?;
        Some(place.get_or_init(|| {
            let mut labels = self.labels.clone();
            labels.push(Label::new("type", kind.as_str_name()));
            let received = counter!("chaincode_shim_requests_received", labels.clone());
            let ended = |success: &'static str| [labels.clone(), vec![Label::new("success", success)]].concat();
            Meter {
                received,
                completed: ["false", "true"]
                    .map(|success| counter!("chaincode_shim_requests_completed", ended(success))),
                duration: ["false", "true"]
                    .map(|success| histogram!("chaincode_shim_request_duration", ended(success))),
            }
        }))
    }
}
