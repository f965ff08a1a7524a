//! Why a chain ended by itself, and the threads whose failures become known.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use ripstop_ledger::BlockStoreError;
use ripstop_ledger::files::FileError;
use tokio::sync::mpsc as tokio_mpsc;

use crate::block_writer::BlockWriterError;
use crate::consenter::ConsenterError;

/// A chain ended by itself. The node must stop.
#[derive(Debug, thiserror::Error)]
#[error("channel {channel_id}: {cause}")]
pub struct ChainFailure {
    /// The channel.
    pub channel_id: String,
    /// Why.
    pub cause: FailureCause,
}

/// Why a chain ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum FailureCause {
    /// The Raft log could not be made durable.
    #[error("the Raft log: {0}")]
    Log(#[from] FileError),
    /// A block could not be made durable.
    #[error("the block store: {0}")]
    Store(#[from] BlockStoreError),
    /// A block could not be made.
    #[error(transparent)]
    Writer(Box<BlockWriterError>),
    /// The log holds what cannot be there.
    #[error(transparent)]
    Consenter(#[from] ConsenterError),
    /// A thread panicked.
    #[error("the {thread} broke: {text}")]
    Broken {
        /// Which thread.
        thread: &'static str,
        /// The panic's message.
        text: String,
    },
}

impl ChainFailure {
    /// Whether a disk failed, so that what is on it is known only after a new start.
    pub fn is_disk_failure(&self) -> bool {
        matches!(self.cause, FailureCause::Log(_) | FailureCause::Store(_))
    }
}

/// Starts threads whose failure becomes known.
pub(super) struct Spawner {
    pub(super) channel_id: String,
    pub(super) failures: tokio_mpsc::UnboundedSender<ChainFailure>,
}

impl Spawner {
    pub(super) fn spawn(
        &self,
        thread: &'static str,
        run: impl FnOnce() -> Result<(), FailureCause> + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let (channel_id, failures) = (self.channel_id.clone(), self.failures.clone());
        std::thread::Builder::new().name(format!("{thread} {channel_id}")).spawn(move || {
            let cause = match catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(())) => return,
                Ok(Err(cause)) => cause,
                Err(panic) => FailureCause::Broken { thread, text: panic_text(panic.as_ref()) },
            };
            // Nobody listens any more when the node is ending anyway.
            let _ = failures.send(ChainFailure { channel_id, cause });
        })
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}
