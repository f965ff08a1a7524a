//! Writes the blocks of committed batches, several with one sync where they have gathered,
//! and then tells everybody who waits for them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use metrics::{Label, gauge};
use ripstop_ledger::{BlockRecord, BlockStore};
use ripstop_msp::SigningIdentity;
use ripstop_proto::common::Block;

use super::{Event, FailureCause};
use crate::block_writer::{BlockWriter, NONCE_BYTES};
use crate::consenter::{Committed, Input};
use crate::receipt::Receipt;

/// Batches that are written with one sync.
const BLOCKS_AT_ONCE: usize = 16;

pub(super) struct WriterThread {
    pub(super) writer: BlockWriter,
    pub(super) store: Arc<BlockStore>,
    pub(super) signer: Arc<SigningIdentity>,
    pub(super) to_write: Receiver<Committed<Receipt>>,
    pub(super) events: Sender<Event>,
    pub(super) written: Box<dyn Fn(Vec<Block>) + Send>,
    pub(super) labels: Vec<Label>,
}

impl WriterThread {
    pub(super) fn run(mut self) -> Result<(), FailureCause> {
        while let Ok(first) = self.to_write.recv() {
            let further = std::iter::from_fn(|| self.to_write.try_recv().ok()).take(BLOCKS_AT_ONCE - 1);
            let batches: Vec<_> = std::iter::once(first).chain(further).collect();
            self.write(batches)?;
        }
        Ok(())
    }

    fn write(&mut self, batches: Vec<Committed<Receipt>>) -> Result<(), FailureCause> {
        let mut records = Vec::with_capacity(batches.len());
        let mut receipts = Vec::new();
        let mut applied = 0;
        for Committed { index, batch, receipts: of_batch } in batches {
            let nonce: [u8; NONCE_BYTES] = rand::random();
            let block = self.writer.write(index, batch.envelopes, &self.signer, nonce);
            let block = block.map_err(|error| FailureCause::Writer(Box::new(error)))?;
            records.extend(block.map(|block| BlockRecord { block: Some(block), ..BlockRecord::default() }));
            receipts.extend(of_batch);
            applied = index;
        }
        self.store.append_all(&records)?;
        let blocks: Vec<Block> = records.into_iter().filter_map(|record| record.block).collect();
        if let Some(header) = blocks.last().and_then(|block| block.header.as_ref()) {
            gauge!("consensus_etcdraft_committed_block_number", self.labels.clone()).set(header.number as f64);
            gauge!("ledger_blockchain_height", self.labels.clone()).set((header.number + 1) as f64);
        }
        (self.written)(blocks);
        receipts.into_iter().for_each(Receipt::ordered);
        // Nobody to tell: the consenter has ended.
        let _ = self.events.send(Event::Input(Input::Applied(applied)));
        Ok(())
    }
}
