//! Runs the consenter's core: what arrived goes in, what it wants done goes to the threads,
//! streams and receipts that do it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use metrics::{Label, counter, gauge, histogram};
use tokio::sync::{mpsc as tokio_mpsc, watch};

use super::writer_thread::Goods;
use super::{Event, FailureCause, Fetching, Leadership, log_thread};
use crate::consenter::{Consenter, ConsenterError, ConsenterMessage, Input, Output};
use crate::receipt::Receipt;

/// Events that the consenter takes before it looks at the clock again.
const EVENTS_AT_ONCE: usize = 1024;
/// Runs the consenter's core.
pub(super) struct ConsenterThread {
    pub(super) channel_id: String,
    pub(super) consenter: Consenter<Receipt>,
    pub(super) consenter_id: u64,
    /// How many blocks there are.
    pub(super) height: u64,
    pub(super) tick_interval: Duration,
    pub(super) arrived: Receiver<Event>,
    pub(super) records: Sender<log_thread::Work>,
    pub(super) goods: Sender<Goods>,
    pub(super) fetching: tokio_mpsc::UnboundedSender<Fetching>,
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) healthy: watch::Sender<bool>,
    pub(super) outbox: Box<dyn Fn(Vec<ConsenterMessage>) + Send>,
    pub(super) labels: Vec<Label>,
}

impl ConsenterThread {
    pub(super) fn run(mut self) -> Result<(), FailureCause> {
        let mut tick_at = Instant::now() + self.tick_interval;
        loop {
            let wake_at = self.consenter.deadline().map_or(tick_at, |deadline| deadline.min(tick_at));
            let event = match self.arrived.recv_timeout(wake_at.saturating_duration_since(Instant::now())) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let further = std::iter::from_fn(|| self.arrived.try_recv().ok()).take(EVENTS_AT_ONCE);
            let events: Vec<Event> = event.into_iter().chain(further).collect();
            for event in events {
                match event {
                    Event::Input(input) => self.step(input)?,
                    Event::Message { sender, message, _room } => self.step(Input::Message { sender, message })?,
                    Event::Stop => return Ok(()),
                }
            }
            let now = Instant::now();
            if now >= tick_at {
                // After a pause of this process one tick stands for all that were missed:
                // the others were not silent, nobody listened.
                tick_at += self.tick_interval;
                if tick_at <= now {
                    tick_at = now + self.tick_interval;
                }
                self.step(Input::Tick)?;
            } else {
                self.step(Input::Wake)?;
            }
        }
    }

    pub(super) fn step(&mut self, input: Input<Receipt>) -> Result<(), ConsenterError> {
        if let Input::Envelopes(envelopes) = &input {
            counter!("consensus_etcdraft_normal_proposals_received", self.labels.clone())
                .increment(envelopes.len() as u64);
        }
        if let Input::Applied { height, .. } = &input {
            self.height = *height;
        }
        for output in self.consenter.step(Instant::now(), input)? {
            self.carry_out(output);
        }
        Ok(())
    }

    /// The other threads end only after this one, or by a failure that ends the node.
    fn carry_out(&self, output: Output<Receipt>) {
        match output {
            Output::Send(messages) => (self.outbox)(messages),
            Output::Persist { number, record } => {
                let _ = self.records.send(log_thread::Work::Persist { number, record });
            }
            Output::Compact(position) => {
                // From now on a follower that is further behind gets these blocks instead of entries.
                gauge!("consensus_etcdraft_snapshot_block_number", self.labels.clone())
                    .set(self.height.saturating_sub(1) as f64);
                let _ = self.records.send(log_thread::Work::Compact(position));
            }
            Output::Apply(batch) => {
                let _ = self.goods.send(Goods::Batch(batch));
            }
            Output::Refuse { receipts, refusal } => {
                counter!("consensus_etcdraft_proposal_failures", self.labels.clone()).increment(receipts.len() as u64);
                let reason = refusal.to_string();
                receipts.into_iter().for_each(|receipt| receipt.refused(&reason));
            }
            Output::Leader { leader, is_self } => self.note_leader(Leadership { leader, is_self }),
            // Nobody fetches any more when the node is ending.
            Output::FetchBlocks { height } => _ = self.fetching.send(Fetching::UpTo(height)),
            Output::CaughtUp { height } => _ = self.fetching.send(Fetching::CaughtUp(height)),
            Output::Filled(duration) => {
                histogram!("blockcutter_block_fill_duration", self.labels.clone()).record(duration.as_secs_f64());
            }
        }
    }

    fn note_leader(&self, leadership: Leadership) {
        let Leadership { leader, is_self } = leadership;
        tracing::info!(
            channel_id = self.channel_id,
            consenter = self.consenter_id,
            leader,
            is_self,
            "Raft leadership changed"
        );
        gauge!("consensus_etcdraft_is_leader", self.labels.clone()).set(f64::from(u8::from(leadership.is_self)));
        gauge!("consensus_etcdraft_leader_id", self.labels.clone()).set(leadership.leader.unwrap_or(0) as f64);
        counter!("consensus_etcdraft_leader_changes", self.labels.clone()).increment(1);
        self.healthy.send_replace(leadership.leader.is_some() || self.consenter.members().len() <= 2);
        self.leadership.send_replace(leadership);
    }
}
