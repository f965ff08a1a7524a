//! Creating a ledger, and opening one after whatever happened to it.
//!
//! The block store is the truth: a torn tail is cut there. The derived store stands at some
//! earlier block or at the same one; what it lacks is replayed with the stored codes. It
//! is moved aside and built from the first block when it does not open or cannot be read,
//! has another format, lacks a block in between, or does not belong to this chain. Every
//! replayed block must give the commit hash that was stored with it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use ripstop_proto::block::{self, TRANSACTIONS_FILTER, header_hash, metadata_slot};
use ripstop_proto::common::{Block, BlockHeader};
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::ripstop::v1::BlockExplanations;
use tokio::sync::watch;

use crate::block_store::{BlockStore, Settings};
use crate::commit::{self, CheckedBlock, Tip, Verdict, Writer};
use crate::committed::Committed;
use crate::contents;
use crate::decision::{self, Decision};
use crate::derived::{self, Applied, Savepoint};
use crate::error::{CommitError, LedgerError};
use crate::explanation;
use crate::files::Lock;
use crate::history;
use crate::ledger::{Ledger, Options, mark_for_rebuild, rebuild_mark};
use crate::roots::Roots;
use crate::state::{self, StateView};
use crate::store::{Batch, CachedStore, Store, StoreError};
use crate::updates;
use crate::{PrivateWrite, Refusal};

pub(crate) const BLOCKS_FOLDER: &str = "blocks";
pub(crate) const DERIVED_FOLDER: &str = "derived";
/// Replayed blocks between syncs of the derived store.
const CHECKPOINT_BLOCKS: u64 = 256;

impl Ledger {
    /// Creates the ledger of a channel in `folder` with its genesis block. A folder that
    /// holds no block yet, for instance after an interrupted creation, is used.
    ///
    /// # Errors
    /// [`LedgerError::Exists`], [`LedgerError::Genesis`], and what files and stores say.
    pub fn create(
        folder: impl AsRef<Path>,
        channel_id: &str,
        genesis: Block,
        options: Options,
    ) -> Result<Self, LedgerError> {
        let folder = folder.as_ref();
        let unfit = |reason: String| LedgerError::Genesis { channel_id: channel_id.to_owned(), reason };
        let found = channel_of(&genesis).map_err(unfit)?;
        if found != channel_id {
            return Err(unfit(format!("it is of channel {found:?}")));
        }
        let parts = Parts::open(folder, options)?;
        let height = parts.blocks.height();
        if height > 0 {
            return Err(LedgerError::Exists { folder: folder.to_owned(), height });
        }
        let tip = Tip::default();
        let ledger = parts.into_ledger(folder, channel_id.to_owned(), tip)?;
        let verdicts = vec![Verdict::valid(); genesis.data.as_ref().map_or(0, |data| data.data.len())];
        match ledger.commit(CheckedBlock { block: genesis, verdicts, private_writes: Vec::new() }) {
            Ok(_) => Ok(ledger),
            Err(CommitError::NotNext { reason, .. }) => Err(unfit(reason)),
            Err(CommitError::NoSpace { reason, .. }) => Err(StoreError::NoSpace(reason).into()),
            Err(error) => Err(StoreError::Failed(error.to_string()).into()),
        }
    }

    /// Opens the ledger in `folder`.
    ///
    /// # Errors
    /// [`LedgerError::Empty`] when there is none; damage that cannot be mended from the
    /// blocks; and what files and stores say.
    pub fn open(folder: impl AsRef<Path>, options: Options) -> Result<Self, LedgerError> {
        let folder = folder.as_ref();
        match Self::open_as_found(folder, options.clone()) {
            Err(LedgerError::Store(StoreError::Damaged(reason))) => {
                tracing::warn!(folder = %folder.display(), reason, "index and state cannot be read");
                mark_for_rebuild(options.files.as_ref(), folder)?;
                Self::open_as_found(folder, options)
            }
            outcome => outcome,
        }
    }

    /// Opens the ledger in `folder` with index and state built again from its blocks,
    /// whatever is there of them; that is moved aside.
    ///
    /// # Errors
    /// As [`Ledger::open`]. Nothing is touched when another process uses the folder.
    pub fn rebuild(folder: impl AsRef<Path>, options: Options) -> Result<Self, LedgerError> {
        let folder = folder.as_ref();
        let lock = BlockStore::lock(options.files.as_ref(), &folder.join(BLOCKS_FOLDER))?;
        let known_height = derived_height(folder, &options)?;
        mark_for_rebuild(options.files.as_ref(), folder)?;
        let options = Options { blocks: Settings { known_height, ..options.blocks }, ..options };
        Self::open_parts(folder, Parts::open_locked(folder, options, lock)?)
    }

    fn open_as_found(folder: &Path, options: Options) -> Result<Self, LedgerError> {
        Self::open_parts(folder, Parts::open(folder, options)?)
    }

    fn open_parts(folder: &Path, parts: Parts) -> Result<Self, LedgerError> {
        let Some(genesis) = parts.blocks.block(0)? else {
            return Err(LedgerError::Empty { folder: folder.to_owned() });
        };
        let channel_id = channel_of(&genesis).map_err(|reason| contradiction(folder, 0, &reason))?;
        let parts = parts.of_one_chain(folder)?;
        let tip = parts.replay(folder)?;
        parts.into_ledger(folder, channel_id, tip)
    }
}

/// What a ledger consists of, while it is being opened.
struct Parts {
    options: Options,
    blocks: BlockStore,
    store: Arc<dyn Store>,
}

impl Parts {
    fn open(folder: &Path, options: Options) -> Result<Self, LedgerError> {
        // Before anything else: a derived store that another process uses must not be moved.
        let lock = BlockStore::lock(options.files.as_ref(), &folder.join(BLOCKS_FOLDER))?;
        Self::open_locked(folder, options, lock)
    }

    fn open_locked(folder: &Path, options: Options, lock: Lock) -> Result<Self, LedgerError> {
        let store = open_derived(folder, &options)?;
        let savepoint = derived::savepoint(store.snapshot().as_ref())?;
        let known_height = savepoint.map_or(0, |savepoint| savepoint.height).max(options.blocks.known_height);
        let settings = Settings { known_height, ..options.blocks };
        let blocks = BlockStore::open_locked(Arc::clone(&options.files), folder.join(BLOCKS_FOLDER), settings, lock)?;
        Ok(Self { options, blocks, store })
    }

    /// The derived store must not know more than the block store. It is built again when
    /// its last block is another one than ours, or when it lacks a block before that.
    fn of_one_chain(self, folder: &Path) -> Result<Self, LedgerError> {
        let Some(savepoint) = self.savepoint()? else { return Ok(self) };
        let height = self.blocks.height();
        if savepoint.height > height {
            let folder = folder.to_owned();
            return Err(LedgerError::BlocksLost { folder, height, state_height: savepoint.height });
        }
        let Some(reason) = self.unfit(&savepoint)? else { return Ok(self) };
        let Self { options, blocks, store } = self;
        let store = rebuilt(folder, &options, Some(store), &reason)?;
        Ok(Self { options, blocks, store })
    }

    /// Why the derived store cannot be used for this chain.
    fn unfit(&self, savepoint: &Savepoint) -> Result<Option<String>, LedgerError> {
        let last = savepoint.height.checked_sub(1).map(|number| self.blocks.block(number)).transpose()?.flatten();
        let hash = last.and_then(|block| block.header).map(|header| header_hash(&header));
        if hash != Some(savepoint.block_hash) {
            return Ok(Some("it belongs to another chain".to_owned()));
        }
        match derived::first_gap(self.store.snapshot().as_ref(), savepoint.height) {
            Ok(gap) => Ok(gap.map(|number| format!("it lacks block {number}"))),
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    fn savepoint(&self) -> Result<Option<Savepoint>, LedgerError> {
        Ok(derived::savepoint(self.store.snapshot().as_ref())?)
    }

    /// Applies the blocks that the derived store lacks. Returns the end of the chain.
    fn replay(&self, folder: &Path) -> Result<Tip, LedgerError> {
        let from = self.savepoint()?.map_or(0, |savepoint| savepoint.height);
        let height = self.blocks.height();
        let explained_blocks = self.options.explained_blocks;
        let mut tip = match from.checked_sub(1) {
            None => Tip::default(),
            Some(number) => Stored::read(&self.blocks, number, folder)?.tip(),
        };
        if from < height {
            tracing::info!(folder = %folder.display(), from, to = height, "replaying blocks into index and state");
        }
        for number in from..height {
            let stored = Stored::read(&self.blocks, number, folder)?;
            let explained = Explained::at(height, explained_blocks);
            let batch = stored.replay(&self.store, &tip, &explained, folder)?;
            let durable = number + 1 == height || (number + 1).is_multiple_of(CHECKPOINT_BLOCKS);
            self.store.write(&batch, durable)?;
            tip = stored.tip();
        }
        Ok(tip)
    }

    /// The state trie, brought to where the state is.
    fn roots(&self, state: &StateView) -> Result<Option<Mutex<Roots>>, LedgerError> {
        let Some(settings) = self.options.trie else { return Ok(None) };
        let mut roots = Roots::open(&self.store, settings)?;
        let height = state.height();
        if roots.height() == 0 || roots.height() > height {
            if height > 0 || roots.height() > 0 {
                roots.rebuild(state)?;
            }
        } else if roots.height() < height {
            roots.catch_up(&self.keys_written(roots.height(), height)?, state)?;
        }
        let last = height.checked_sub(1).map(|number| self.blocks.block(number)).transpose()?.flatten();
        let Some(expected) = last.as_ref().and_then(block::block_roots) else { return Ok(Some(Mutex::new(roots))) };
        if expected.state_root != roots.state_root()[..] {
            roots.rebuild(state)?;
        }
        if expected.state_root != roots.state_root()[..] {
            tracing::error!(
                channel_id = expected.channel_id,
                height,
                "the state is not the one that was committed: its root differs from the one in the last block; \
                 have index and state built again from the blocks with `ripstop ledger rebuild`"
            );
        }
        Ok(Some(Mutex::new(roots)))
    }

    /// The store keys of all keys that the valid transactions of some blocks write.
    fn keys_written(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
        let mut keys = BTreeSet::new();
        for number in from..to {
            let block = self.blocks.block(number)?.unwrap_or_default();
            let codes = contents::codes(&block).unwrap_or_default();
            let entries = contents::open_entries(&block, &codes);
            keys.extend(entries.iter().flat_map(|entry| updates::written_keys(&entry.contents)));
        }
        Ok(keys.into_iter().collect())
    }

    fn into_ledger(self, folder: &Path, channel_id: String, tip: Tip) -> Result<Ledger, LedgerError> {
        let store = Arc::new(CachedStore::new(Arc::clone(&self.store), state::is_state_key));
        let view = StateView::new(store.snapshot(), tip.height);
        let roots = self.roots(&view)?;
        Ok(Ledger {
            channel_id,
            folder: folder.to_owned(),
            files: self.options.files,
            explained_blocks: self.options.explained_blocks,
            blocks: Arc::new(self.blocks),
            store,
            heights: watch::Sender::new(tip.height),
            published: RwLock::new(view),
            recent: Mutex::default(),
            writer: Mutex::new(Writer { tip, pending: None, ended: None }),
            roots,
        })
    }
}

/// A block as it was stored, on its way into the derived store once more.
pub(crate) struct Stored {
    pub(crate) header: BlockHeader,
    pub(crate) block: Block,
    private_writes: Vec<PrivateWrite>,
    refusals: Vec<Refusal>,
}

/// Which blocks of the chain are explained.
pub(crate) struct Explained {
    pub(crate) from: u64,
    pub(crate) blocks: u64,
}

impl Explained {
    /// Those of a chain of this height.
    pub(crate) fn at(height: u64, explained_blocks: u64) -> Self {
        Self { from: height.saturating_sub(explained_blocks), blocks: explained_blocks }
    }
}

impl Stored {
    pub(crate) fn read(blocks: &BlockStore, number: u64, folder: &Path) -> Result<Self, LedgerError> {
        let record = blocks.record(number)?.unwrap_or_default();
        let block = record.block.unwrap_or_default();
        match &block.header {
            Some(header) => Ok(Self {
                header: header.clone(),
                private_writes: record.private_writes,
                refusals: record.refusals,
                block,
            }),
            None => Err(contradiction(folder, number, "it has no header")),
        }
    }

    /// The block's transactions as they stand.
    pub(crate) fn entries(&self) -> &[Bytes] {
        self.block.data.as_ref().map_or(&[], |data| &data.data)
    }

    /// The end of a chain whose last block this is.
    pub(crate) fn tip(&self) -> Tip {
        Tip {
            height: self.header.number + 1,
            block_hash: Bytes::copy_from_slice(&header_hash(&self.header)),
            commit_hash: block::commit_hash(&self.block).map_or(Bytes::new(), |hash| Bytes::copy_from_slice(&hash)),
        }
    }

    /// What this block changes, by its stored codes. It has to follow `tip` and to give
    /// the commit hash that is stored with it.
    pub(crate) fn replay(
        &self,
        store: &Arc<dyn Store>,
        tip: &Tip,
        explained: &Explained,
        folder: &Path,
    ) -> Result<Batch, LedgerError> {
        let number = self.header.number;
        if self.header.previous_hash != tip.block_hash {
            return Err(contradiction(folder, number, "its previous hash is not the hash of the block before"));
        }
        let codes = contents::codes(&self.block)
            .ok_or_else(|| contradiction(folder, number, "not every transaction has a code"))?;
        let is_explained = number >= explained.from;
        let entries = match is_explained {
            true => contents::open_entries_with_losers(&self.block, &codes),
            false => contents::open_entries(&self.block, &codes),
        };
        let view = StateView::new(store.snapshot(), number);
        let before = Committed::load(&view, &entries)?;
        let Decision { updates, conflicts } = decision::replay(number, &entries, &codes, &before)?;
        let filter = metadata_slot(&self.block, TRANSACTIONS_FILTER);
        if commit::next_commit_hash(filter, &updates, tip) != block::commit_hash(&self.block) {
            return Err(contradiction(folder, number, "applying it again gives another commit hash"));
        }
        Ok(derived::batch(Applied {
            number,
            block_hash: header_hash(&self.header),
            updates: &updates,
            private_writes: &self.private_writes,
            new_tx_ids: decision::new_tx_ids(&entries, &codes, &before),
            history_keys: history::keys(number, &entries, &codes),
            explanations: match is_explained {
                true => explanation::of_block(&codes, &self.refusals, conflicts),
                false => BlockExplanations::default(),
            },
            explained_blocks: explained.blocks,
        }))
    }
}

pub(crate) fn contradiction(folder: &Path, number: u64, reason: &str) -> LedgerError {
    LedgerError::Contradiction { folder: folder.to_owned(), number, reason: reason.to_owned() }
}

/// How many blocks the derived store knows of; 0 where it cannot tell.
fn derived_height(folder: &Path, options: &Options) -> Result<u64, LedgerError> {
    if !options.files.list(folder)?.iter().any(|name| name == DERIVED_FOLDER) {
        return Ok(0);
    }
    let store = options.stores.open(&folder.join(DERIVED_FOLDER));
    let savepoint = store.and_then(|store| derived::savepoint(store.snapshot().as_ref()));
    Ok(savepoint.ok().flatten().map_or(0, |savepoint| savepoint.height))
}

/// Opens the derived store, or an empty one in its place when it cannot be used.
fn open_derived(folder: &Path, options: &Options) -> Result<Arc<dyn Store>, LedgerError> {
    if options.files.open_existing(&rebuild_mark(folder))?.is_some() {
        let store = rebuilt(folder, options, None, "it was found damaged")?;
        options.files.remove(&rebuild_mark(folder))?;
        options.files.sync_folder(folder)?;
        return Ok(store);
    }
    match options.stores.open(&folder.join(DERIVED_FOLDER)).and_then(with_format) {
        Ok(Ok(store)) => Ok(store),
        Ok(Err((store, reason))) => rebuilt(folder, options, Some(store), &reason),
        Err(StoreError::Damaged(reason) | StoreError::Failed(reason)) => rebuilt(folder, options, None, &reason),
        Err(error) => Err(error.into()),
    }
}

/// A store that can be used, or one that cannot with the reason.
type Formatted = Result<Arc<dyn Store>, (Arc<dyn Store>, String)>;

/// Checks the format mark, setting it in an empty store.
fn with_format(store: Arc<dyn Store>) -> Result<Formatted, StoreError> {
    match derived::format(store.snapshot().as_ref())? {
        None => {
            store.write(&derived::first_batch(), true)?;
            Ok(Ok(store))
        }
        Some(mark) if mark == derived::FORMAT => Ok(Ok(store)),
        Some(mark) => Ok(Err((store, format!("its format is {:?}", String::from_utf8_lossy(&mark))))),
    }
}

/// An empty store in place of one that cannot be used, which is kept beside it.
fn rebuilt(
    folder: &Path,
    options: &Options,
    unusable: Option<Arc<dyn Store>>,
    reason: &str,
) -> Result<Arc<dyn Store>, LedgerError> {
    drop(unusable);
    let path = folder.join(DERIVED_FOLDER);
    let kept = options.stores.set_aside(&path)?;
    tracing::warn!(
        folder = %folder.display(), reason, kept = kept.as_deref().unwrap_or("nothing"),
        "index and state cannot be used and are built again from the blocks"
    );
    let store = options.stores.open(&path)?;
    store.write(&derived::first_batch(), true)?;
    Ok(store)
}

/// The channel that a genesis block is for.
pub(crate) fn channel_of(genesis: &Block) -> Result<String, String> {
    let entry = genesis.data.as_ref().and_then(|data| data.data.first()).ok_or("it holds no transaction")?;
    let envelope = OpenEnvelope::open(entry).map_err(|error| error.to_string())?;
    Ok(envelope.channel_header.channel_id)
}
