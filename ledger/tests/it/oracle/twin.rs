//! A real ledger that commits the serial one's blocks with a number of threads of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};
use ripstop_ledger::store::MemoryStores;
use ripstop_ledger::{CheckedBlock, CommittedBlock, Ledger, Options, StateRange, StateView, VersionedValue};

use ripstop_proto::queryresult::KeyModification;

use super::random_block::{COLLECTIONS, NAMESPACES, PRIVATE_KEYS};
use super::serial_ledger::{Modification, Row, SerialLedger, State, sha256};
use crate::build::{CHANNEL, genesis};

pub(crate) struct Twin {
    pub(crate) threads: usize,
    pub(crate) ledger: Ledger,
    pool: ThreadPool,
    path: PathBuf,
    options: Options,
    folder: Option<tempfile::TempDir>,
}

impl Twin {
    pub(crate) fn in_memory(threads: usize) -> Self {
        Self::new(threads, "ledger".into(), Options::in_memory(), None)
    }

    /// In memory, too, where LevelDB is left out.
    #[cfg(not(feature = "leveldb"))]
    pub(crate) fn on_disk(threads: usize) -> Self {
        Self::in_memory(threads)
    }

    #[cfg(feature = "leveldb")]
    pub(crate) fn on_disk(threads: usize) -> Self {
        let folder = crate::environment::fast_folder();
        let stores = ripstop_ledger::store::LevelDbStores { write_buffer_bytes: 64 << 10, ..Default::default() };
        let options = Options { stores: Arc::new(stores), ..Options::default() };
        Self::new(threads, folder.path().join("ledger"), options, Some(folder))
    }

    fn new(threads: usize, path: PathBuf, options: Options, folder: Option<tempfile::TempDir>) -> Self {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let ledger = Ledger::create(&path, CHANNEL, genesis(), options.clone()).unwrap();
        Self { threads, ledger, pool, path, options, folder }
    }

    pub(crate) fn commit(&self, block: CheckedBlock, place: &str) -> Arc<CommittedBlock> {
        let outcome = self.pool.install(|| self.ledger.commit(block));
        outcome.unwrap_or_else(|error| panic!("{place}, {} threads: {error}", self.threads))
    }

    /// The same ledger with index and state thrown away and built again from its blocks.
    pub(crate) fn rebuilt(self) -> Self {
        let Self { threads, ledger, pool, path, mut options, folder } = self;
        drop(ledger);
        match &folder {
            Some(_) => std::fs::remove_dir_all(path.join("derived")).unwrap(),
            None => options.stores = Arc::new(MemoryStores::new()),
        }
        let ledger = pool.install(|| Ledger::open(&path, options.clone())).unwrap();
        Self { threads, ledger, pool, path, options, folder }
    }

    /// Requires the serial ledger's state, private values, and transaction positions from
    /// this block on.
    pub(crate) fn require_state_of(&self, serial: &SerialLedger, from: u64, place: &str) {
        let place = format!("{place}, {} threads", self.threads);
        let view = self.ledger.state();
        require_equal(&state_of(&view), &serial.state, &format!("{place}: state"));
        require_equal(&private_of(&view), &serial.private, &format!("{place}: private values"));
        for (tx_id, (number, code)) in serial.positions.iter().filter(|(_, (number, _))| number.0 >= from) {
            let found = self.ledger.transaction(tx_id).unwrap();
            let found = found.map(|found| ((found.block_number, u64::from(found.tx_index)), found.code));
            assert_eq!(found, Some((*number, *code)), "{place}: {tx_id}");
        }
    }

    /// Requires the serial ledger's history of every key.
    pub(crate) fn require_history_of(&self, serial: &SerialLedger, place: &str) {
        for ((namespace, key), expected) in &serial.history {
            let found = self.ledger.history(namespace, key).map(|modification| {
                let KeyModification { tx_id, value, is_delete, .. } = modification.unwrap();
                Modification { tx_id, value, is_delete }
            });
            let found: Vec<_> = found.collect();
            assert!(
                found.iter().eq(expected.iter().rev()),
                "{place}, {} threads: {namespace:?} {key:?}: {found:?} for {expected:?}",
                self.threads
            );
        }
    }
}

fn require_equal(found: &State, expected: &State, place: &str) {
    for key in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(key), expected.get(key), "{place}: {key:?}");
    }
}

fn state_of(view: &StateView) -> State {
    let mut state = BTreeMap::new();
    for namespace in NAMESPACES.into_iter().chain([""]) {
        add_rows(&mut state, namespace, "", view.range(namespace, "", ""));
        for collection in COLLECTIONS {
            for key in PRIVATE_KEYS {
                let hash = sha256(key.as_bytes());
                if let Some(entry) = view.hashed(namespace, collection, &hash).unwrap() {
                    state.insert((namespace.to_owned(), collection.to_owned(), hash.to_vec()), row(entry));
                }
            }
        }
    }
    state
}

fn private_of(view: &StateView) -> State {
    let mut state = BTreeMap::new();
    for namespace in NAMESPACES {
        for collection in COLLECTIONS {
            add_rows(&mut state, namespace, collection, view.private_range(namespace, collection, "", ""));
        }
    }
    state
}

fn add_rows(state: &mut State, namespace: &str, collection: &str, rows: StateRange) {
    for (key, entry) in rows.map(Result::unwrap) {
        state.insert((namespace.to_owned(), collection.to_owned(), key.into_bytes()), row(entry));
    }
}

fn row(entry: VersionedValue) -> Row {
    let VersionedValue { value, metadata, version } = entry;
    Row { value, metadata, version: (version.block_number, version.tx_index) }
}
