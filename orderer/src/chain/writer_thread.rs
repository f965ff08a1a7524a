//! Writes the blocks of committed batches, several with one sync where they have gathered,
//! and then tells everybody who waits for them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use metrics::{Label, gauge, histogram};
use ripstop_ledger::{BlockRecord, BlockStore};
use ripstop_msp::SigningIdentity;
use ripstop_proto::common::Block;
use tokio::sync::oneshot;

use super::{Event, FailureCause};
use crate::block_writer::{BlockWriter, NONCE_BYTES};
use crate::consenter::{Committed, Input};
use crate::receipt::Receipt;

/// Batches that are written with one sync.
const BLOCKS_AT_ONCE: usize = 16;

/// What comes to the writer.
pub(super) enum Goods {
    /// A batch of which a block is to be made.
    Batch(Committed<Receipt>),
    /// Verified blocks of another consenter; those that are here already are left out.
    Fetched(Vec<Block>, oneshot::Sender<()>),
}

pub(super) struct WriterThread {
    pub(super) writer: BlockWriter,
    pub(super) store: Arc<BlockStore>,
    pub(super) signer: Arc<SigningIdentity>,
    pub(super) to_write: Receiver<Goods>,
    pub(super) events: Sender<Event>,
    pub(super) written: Box<dyn Fn(Vec<Block>) + Send>,
    pub(super) labels: Vec<Label>,
}

impl WriterThread {
    pub(super) fn run(mut self) -> Result<(), FailureCause> {
        while let Ok(first) = self.to_write.recv() {
            let further = std::iter::from_fn(|| self.to_write.try_recv().ok()).take(BLOCKS_AT_ONCE - 1);
            let mut batches = Vec::new();
            for goods in std::iter::once(first).chain(further).collect::<Vec<_>>() {
                match goods {
                    Goods::Batch(batch) => batches.push(batch),
                    Goods::Fetched(blocks, stored) => {
                        self.write(std::mem::take(&mut batches))?;
                        self.adopt(blocks)?;
                        // Whoever fetched them may have ended.
                        let _ = stored.send(());
                    }
                }
            }
            self.write(batches)?;
        }
        Ok(())
    }

    fn adopt(&mut self, blocks: Vec<Block>) -> Result<(), FailureCause> {
        let mut records = Vec::with_capacity(blocks.len());
        for block in blocks {
            if self.writer.adopt(&block).map_err(|error| FailureCause::Writer(Box::new(error)))? {
                records.push(BlockRecord { block: Some(block), ..BlockRecord::default() });
            }
        }
        self.store(records)?;
        self.tell_applied();
        Ok(())
    }

    fn write(&mut self, batches: Vec<Committed<Receipt>>) -> Result<(), FailureCause> {
        let mut records = Vec::with_capacity(batches.len());
        let mut receipts = Vec::new();
        if batches.is_empty() {
            return Ok(());
        }
        for Committed { index, batch, receipts: of_batch } in batches {
            let nonce: [u8; NONCE_BYTES] = rand::random();
            let block = self.writer.write(index, batch.envelopes, &self.signer, nonce);
            let block = block.map_err(|error| FailureCause::Writer(Box::new(error)))?;
            records.extend(block.map(|block| BlockRecord { block: Some(block), ..BlockRecord::default() }));
            receipts.extend(of_batch);
        }
        self.store(records)?;
        receipts.into_iter().for_each(Receipt::ordered);
        self.tell_applied();
        Ok(())
    }

    fn store(&self, records: Vec<BlockRecord>) -> Result<(), FailureCause> {
        let started = Instant::now();
        self.store.append_all(&records)?;
        let elapsed = started.elapsed().as_secs_f64();
        histogram!("ledger_blockstorage_commit_time", self.labels.clone()).record(elapsed);
        let blocks: Vec<Block> = records.into_iter().filter_map(|record| record.block).collect();
        if let Some(header) = blocks.last().and_then(|block| block.header.as_ref()) {
            gauge!("consensus_etcdraft_committed_block_number", self.labels.clone()).set(header.number as f64);
            gauge!("ledger_blockchain_height", self.labels.clone()).set((header.number + 1) as f64);
        }
        (self.written)(blocks);
        Ok(())
    }

    fn tell_applied(&self) {
        let (index, height) = (self.writer.raft_index(), self.writer.height());
        // Nobody to tell: the consenter has ended.
        let _ = self.events.send(Event::Input(Input::Applied { index, height }));
    }
}
