//! A world of consenters without threads, clock or network: everything that happens is
//! chosen here, from a seed. The disks are the crashing files of the ledger room.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ripstop_ledger::files::{MemoryFiles, Survival};
use ripstop_orderer::block_cutter::{BatchLimits, Cutting};
use ripstop_orderer::consenter::{
    Committed, Consenter, ConsenterMessage, Input, Output, RaftSettings, Settings, Submission,
};
use ripstop_orderer::raft_log::RaftLog;
use ripstop_orderer::raft_record::Record;

pub(crate) const TICK: Duration = Duration::from_millis(100);
pub(crate) const ELECTION_TICKS: usize = 10;

/// What a block store would hold: raft index and envelopes of each batch.
type Blocks = Vec<(u64, Vec<Bytes>)>;

/// One consenter with its disk.
pub(crate) struct Node {
    id: u64,
    running: Option<Running>,
    files: MemoryFiles,
    pub(crate) blocks: Blocks,
    /// Receipts that came back with a durable block.
    pub(crate) acknowledged: Vec<u64>,
    pub(crate) refused: Vec<u64>,
    pub(crate) leader: Option<u64>,
    pub(crate) is_leader: bool,
    /// Whether it has blocks that its log does not follow yet.
    catching_up: bool,
    /// Whether it ever fetched a block.
    was_behind: bool,
}

struct Running {
    consenter: Consenter<u64>,
    log: RaftLog,
    to_persist: VecDeque<(u64, Record)>,
    to_apply: VecDeque<Committed<u64>>,
    /// How many blocks are wanted from others.
    to_fetch: Option<u64>,
}

/// All consenters, and the messages between them.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) chance: StdRng,
    /// Messages under way.
    network: Vec<ConsenterMessage>,
    /// Pairs that cannot reach each other, in this direction.
    cut: BTreeSet<(u64, u64)>,
    /// Percent of messages that are lost.
    pub(crate) loss_percent: u32,
    now: Instant,
    next_receipt: u64,
    kept_bytes: u64,
    /// Blocks that were fetched, by all together.
    pub(crate) fetched_count: u64,
    seed: u64,
}

fn folder() -> &'static Path {
    Path::new("raft")
}

impl World {
    pub(crate) fn new(count: u64, seed: u64) -> Self {
        Self::keeping(count, seed, 1 << 20)
    }

    /// A world whose consenters keep few bytes of applied entries.
    pub(crate) fn keeping(count: u64, seed: u64, kept_bytes: u64) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            chance: StdRng::seed_from_u64(seed),
            network: Vec::new(),
            cut: BTreeSet::new(),
            loss_percent: 0,
            now: Instant::now(),
            next_receipt: 1,
            kept_bytes,
            fetched_count: 0,
            seed,
        };
        let members: Vec<u64> = (1..=count).collect();
        for id in 1..=count {
            let files = MemoryFiles::new();
            RaftLog::create(Arc::new(files.clone()), folder(), 4096, id, &members).unwrap();
            let node = Node {
                id,
                running: None,
                files,
                blocks: Vec::new(),
                acknowledged: Vec::new(),
                refused: Vec::new(),
                leader: None,
                is_leader: false,
                catching_up: false,
                was_behind: false,
            };
            world.nodes.push(node);
            world.start(id);
        }
        world
    }

    fn node(&mut self, id: u64) -> &mut Node {
        &mut self.nodes[id as usize - 1]
    }

    /// Starts a consenter from what its disk holds.
    pub(crate) fn start(&mut self, id: u64) {
        let (seed, kept_bytes) = (self.chance.random(), self.kept_bytes);
        let node = self.node(id);
        let (log, recovered) = RaftLog::open(Arc::new(node.files.clone()), folder(), 4096, 3).unwrap().unwrap();
        let raft = RaftSettings {
            id,
            election_ticks: ELECTION_TICKS,
            heartbeat_ticks: 1,
            uncommitted_bytes_max: 4096,
            kept_bytes,
            applied_index: node.blocks.last().map_or(0, |(index, _)| *index),
            height: node.blocks.len() as u64 + 1,
            catching_up: node.catching_up,
            seed,
        };
        let limits = BatchLimits { message_count_max: 3, preferred_bytes_max: 4096, timeout: 2 * TICK };
        let cutting = Cutting::Adaptive { linger: TICK / 10 };
        let settings = Settings { raft, limits, cutting, in_flight_max: 2 };
        let consenter = Consenter::new(settings, recovered).unwrap();
        (node.leader, node.is_leader) = (None, false);
        node.running =
            Some(Running { consenter, log, to_persist: VecDeque::new(), to_apply: VecDeque::new(), to_fetch: None });
        self.input(id, Input::Wake);
    }

    /// Cuts a consenter's power: what is not synced is gone.
    pub(crate) fn crash(&mut self, id: u64) {
        let node = self.node(id);
        node.running = None;
        node.files = node.files.restart(Survival::Synced);
        (node.leader, node.is_leader) = (None, false);
    }

    pub(crate) fn is_running(&self, id: u64) -> bool {
        self.nodes[id as usize - 1].running.is_some()
    }

    /// The consenters of the two groups do not reach each other any more.
    pub(crate) fn partition(&mut self, one: &[u64], other: &[u64]) {
        for &a in one {
            for &b in other {
                self.cut.extend([(a, b), (b, a)]);
            }
        }
    }

    pub(crate) fn cut_link(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.loss_percent = 0;
    }

    pub(crate) fn input(&mut self, id: u64, input: Input<u64>) {
        let now = self.now;
        let node = self.node(id);
        let Some(running) = &mut node.running else { return };
        let mut sent = Vec::new();
        for output in running.consenter.step(now, input).unwrap() {
            match output {
                Output::Send(messages) => sent.extend(messages),
                Output::Persist { number, record } => running.to_persist.push_back((number, record)),
                Output::Apply(batch) => running.to_apply.push_back(batch),
                Output::Refuse { receipts, .. } => node.refused.extend(receipts),
                Output::Leader { leader, is_self } => (node.leader, node.is_leader) = (leader, is_self),
                Output::Compact(position) => running.log.compact(position).unwrap(),
                Output::FetchBlocks { height } => running.to_fetch = running.to_fetch.max(Some(height)),
                Output::CaughtUp { .. } => node.catching_up = false,
                Output::Filled(_) => {}
            }
        }
        self.network.extend(sent);
    }

    /// Brings `count` new envelopes to a consenter; their receipts.
    pub(crate) fn submit(&mut self, id: u64, count: u64) -> Vec<u64> {
        let receipts: Vec<u64> = (self.next_receipt..self.next_receipt + count).collect();
        self.next_receipt += count;
        let submissions = receipts.iter().map(|&receipt| Submission {
            envelope: envelope(receipt),
            size: 100,
            config_sequence: 0,
            receipt,
        });
        self.input(id, Input::Envelopes(submissions.collect()));
        receipts
    }

    /// One disk finishes one record.
    pub(crate) fn persist(&mut self, id: u64) {
        let Some(running) = &mut self.node(id).running else { return };
        let Some((number, record)) = running.to_persist.pop_front() else { return };
        if !record.is_empty() {
            running.log.append(&record).unwrap();
        }
        self.input(id, Input::Persisted(number));
    }

    /// One block store finishes one block.
    pub(crate) fn apply(&mut self, id: u64) {
        let node = self.node(id);
        let Some(running) = &mut node.running else { return };
        let Some(Committed { index, batch, receipts }) = running.to_apply.pop_front() else { return };
        let stored = node.blocks.last().map_or(0, |(last, _)| *last);
        assert!(index > stored || node.was_behind, "consenter {id} applies {index} again");
        if index > stored {
            node.blocks.push((index, batch.envelopes));
        }
        node.acknowledged.extend(receipts);
        self.tell_applied(id);
    }

    fn tell_applied(&mut self, id: u64) {
        let blocks = &self.node(id).blocks;
        let (index, height) = (blocks.last().map_or(0, |(index, _)| *index), blocks.len() as u64 + 1);
        self.input(id, Input::Applied { index, height });
    }

    /// One block that a consenter wants is fetched from another one, if any has it.
    pub(crate) fn fetch(&mut self, id: u64) {
        let Some(height) = self.node(id).running.as_ref().and_then(|running| running.to_fetch) else { return };
        let next = self.node(id).blocks.len();
        if next as u64 + 1 >= height {
            self.node(id).running.as_mut().unwrap().to_fetch = None;
            return;
        }
        let from = self.chance.random_range(0..self.nodes.len());
        let Some(block) = self.nodes[from].blocks.get(next).cloned() else { return };
        let node = self.node(id);
        (node.catching_up, node.was_behind) = (true, true);
        node.blocks.push(block);
        self.fetched_count += 1;
        self.tell_applied(id);
    }

    /// One message arrives, whichever; or is lost.
    pub(crate) fn deliver_one(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let place = self.chance.random_range(0..self.network.len());
        let message = self.network.swap_remove(place);
        let lost = self.chance.random_range(0..100) < self.loss_percent;
        if !lost && !self.cut.contains(&(message.from, message.to)) {
            let (sender, recipient) = (message.from, message.to);
            self.input(recipient, Input::Message { sender, message: Box::new(message) });
        }
    }

    /// A tick of time for everybody, and everything that follows from it.
    pub(crate) fn tick(&mut self) {
        self.now += TICK;
        for id in 1..=self.nodes.len() as u64 {
            self.input(id, Input::Tick);
        }
        self.settle();
    }

    /// Finishes everything that is under way, short of further time.
    pub(crate) fn settle(&mut self) {
        loop {
            self.deliver_one();
            (1..=self.nodes.len() as u64).for_each(|id| {
                self.persist(id);
                self.apply(id);
                self.fetch(id);
            });
            let busy = |running: &Running| {
                !running.to_persist.is_empty() || !running.to_apply.is_empty() || running.to_fetch.is_some()
            };
            if self.network.is_empty() && !self.nodes.iter().any(|node| node.running.as_ref().is_some_and(busy)) {
                return;
            }
        }
    }

    /// Ticks until the condition holds.
    pub(crate) fn tick_until(&mut self, what: &str, ticks_max: usize, holds: impl Fn(&Self) -> bool) {
        for _ in 0..ticks_max {
            if holds(self) {
                return;
            }
            self.tick();
        }
        panic!("seed {}: not within {ticks_max} ticks: {what}", self.seed);
    }

    /// The one that leads, if all that run agree on it.
    pub(crate) fn leader(&self) -> Option<u64> {
        let running: Vec<&Node> = self.nodes.iter().filter(|node| node.running.is_some()).collect();
        let leader = running.iter().find(|node| node.is_leader)?.id;
        running.iter().all(|node| node.leader == Some(leader)).then_some(leader)
    }

    pub(crate) fn elect(&mut self) -> u64 {
        self.tick_until("a leader that all agree on", 20 * ELECTION_TICKS, |world| world.leader().is_some());
        self.leader().unwrap()
    }

    /// One random event.
    pub(crate) fn anything(&mut self) {
        let count = self.nodes.len() as u64;
        let id = self.chance.random_range(1..=count);
        match self.chance.random_range(0..1000) {
            0..=499 => self.deliver_one(),
            500..=649 => self.persist(id),
            650..=749 => self.apply(id),
            750..=799 => self.fetch(id),
            800..=899 => {
                self.now += TICK / count as u32;
                self.input(id, Input::Tick);
            }
            900..=979 => _ = self.submit(id, 2),
            980..=982 => self.crash(id),
            983..=992 if !self.is_running(id) => self.start(id),
            993..=995 => {
                let other = self.chance.random_range(1..=count);
                self.cut_link(id, other);
            }
            996..=997 => self.cut.clear(),
            998 => self.loss_percent = self.chance.random_range(0..30),
            _ => self.input(id, Input::Wake),
        }
    }

    /// Something happens to one consenter, or a message arrives.
    pub(crate) fn late_event(&mut self, id: u64) {
        match self.chance.random_range(0..10) {
            0..=3 => (0..5).for_each(|_| self.deliver_one()),
            4 => self.persist(id),
            5 => self.apply(id),
            6..=8 => self.fetch(id),
            _ => {
                self.now += TICK;
                (1..=self.nodes.len() as u64).for_each(|id| self.input(id, Input::Tick));
                let others: Vec<u64> = (1..=self.nodes.len() as u64).filter(|other| *other != id).collect();
                for other in others {
                    (0..5).for_each(|_| self.persist(other));
                    self.apply(other);
                }
            }
        }
    }

    /// What has to hold at every moment: all chains are beginnings of the longest one, and
    /// what was acknowledged anywhere is in it, once for each time it was acknowledged.
    pub(crate) fn check(&self) {
        let seed = self.seed;
        let longest = &self.nodes.iter().max_by_key(|node| node.blocks.len()).unwrap().blocks;
        for node in &self.nodes {
            let same = node.blocks.iter().zip(longest).all(|(ours, theirs)| ours == theirs);
            assert!(same, "seed {seed}: consenter {} has other blocks", node.id);
        }
        let ordered: Vec<&Bytes> = longest.iter().flat_map(|(_, envelopes)| envelopes).collect();
        let distinct: BTreeSet<&Bytes> = ordered.iter().copied().collect();
        assert_eq!(ordered.len(), distinct.len(), "seed {seed}: an envelope that was submitted once is ordered twice");
        let acknowledged: Vec<u64> = self.nodes.iter().flat_map(|node| node.acknowledged.clone()).collect();
        for receipt in &acknowledged {
            assert!(distinct.contains(&envelope(*receipt)), "seed {seed}: {receipt} was acknowledged and is lost");
        }
        let once: BTreeSet<&u64> = acknowledged.iter().collect();
        assert_eq!(once.len(), acknowledged.len(), "seed {seed}: a receipt came back twice");
    }
}

pub(crate) fn envelope(receipt: u64) -> Bytes {
    Bytes::copy_from_slice(format!("envelope {receipt}").as_bytes())
}
