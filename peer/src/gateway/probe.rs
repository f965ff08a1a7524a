//! Trying to reach again the nodes that are down, so that a node that returned is used
//! without any client having waited for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::channel::Channel;

/// A node that returned is in use again after this and the time to connect to it.
const INTERVAL: Duration = Duration::from_secs(1);

/// TLS root certificates by advertised address: every node that is to be reached.
pub(super) type Known = BTreeMap<String, Vec<Vec<u8>>>;

impl Gateway {
    /// Tries the nodes that are down, again and again, until `stop`.
    pub async fn keep_probing(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let probing = async {
            loop {
                ticks.tick().await;
                self.probe().await;
            }
        };
        stop.run_until_cancelled(probing).await;
    }

    async fn probe(&self) {
        let channels = self.channels.ids().into_iter().filter_map(|id| self.channels.get(&id));
        let channels: Vec<Arc<Channel>> = channels.collect();
        let peers = channels.iter().flat_map(|channel| self.endorsers.known(channel)).collect();
        let orderers = channels.iter().flat_map(|channel| self.orderers.known(&channel.config())).collect();
        tokio::join!(self.endorsers.probe(&peers), self.orderers.probe(&orderers));
    }
}
