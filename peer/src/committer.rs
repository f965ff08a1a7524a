//! From a delivered block to a committed one, for one channel.
//!
//! The committer is the only writer of the channel's ledger. Blocks come verified
//! and in order from `deliver_client`; `validator` judges each, the ledger checks
//! versions and makes the block durable, and whoever waits is told. Stage one of
//! a block reads the state after the previous one, so blocks go one after another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ripstop_channel::ChannelConfig;
use ripstop_ledger::{CheckedBlock, CommitError, CommittedBlock, PrivateWrite};
use ripstop_proto::block;
use ripstop_proto::common::Block;
use ripstop_proto::protos::TxValidationCode;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::channel::Channel;
use crate::commits::{Commits, Committed};
use crate::lifecycle::{self, approvals};
use crate::validator::{self, Before, Finding, Halt};

/// How long to wait for space on a full disk before the same block is offered again.
const SPACE_PAUSE: Duration = Duration::from_secs(1);

/// Why the committer of a channel ended before the peer shuts down.
#[derive(Debug, thiserror::Error)]
pub enum CommitterError {
    /// The block cannot be judged; the channel stops, the others go on.
    #[error("channel {channel_id} stops: {halt}")]
    Halted {
        /// The channel.
        channel_id: String,
        /// Why.
        halt: Halt,
    },
    /// The ledger cannot go on; the process has to end.
    #[error("channel {channel_id}: the ledger cannot commit a block: {cause}")]
    Ledger {
        /// The channel.
        channel_id: String,
        /// What the ledger says.
        cause: CommitError,
    },
    /// A new configuration was committed that this peer cannot read.
    #[error("channel {channel_id} stops: the configuration in block {number} cannot be used: {cause}")]
    Config {
        /// The channel.
        channel_id: String,
        /// The block.
        number: u64,
        /// What is wrong with it.
        cause: Box<ripstop_channel::ConfigError>,
    },
    /// A stage panicked: a promise inside is broken, and the process has to end.
    #[error("channel {channel_id}: a stage of the committer broke: {cause}")]
    Broken {
        /// The channel.
        channel_id: String,
        /// The panic.
        cause: tokio::task::JoinError,
    },
}

impl CommitterError {
    /// Whether the whole process has to end, and not only the channel.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Ledger { .. } | Self::Broken { .. })
    }
}

/// Commits `delivered_blocks` in order until `shutdown` or until no more come.
/// `msp_id` is this peer's organization, whose approvals are kept in clear.
///
/// # Errors
/// When the channel, or the whole process, cannot go on.
pub async fn run(
    channel: Arc<Channel>,
    msp_id: String,
    mut delivered_blocks: mpsc::Receiver<Block>,
    shutdown: CancellationToken,
) -> Result<(), CommitterError> {
    let msp_id: Arc<str> = msp_id.into();
    let broken = |cause| CommitterError::Broken { channel_id: channel.id().to_owned(), cause };
    while let Some(Some(delivered)) = shutdown.run_until_cancelled(delivered_blocks.recv()).await {
        let started = Instant::now();

        let (channel_of_stage, msp_id) = (Arc::clone(&channel), Arc::clone(&msp_id));
        let (findings, checked_block) =
            tokio::task::spawn_blocking(move || check(&channel_of_stage, &msp_id, delivered))
                .await
                .map_err(broken)?
                .map_err(|halt| CommitterError::Halted { channel_id: channel.id().to_owned(), halt })?;
        let checked = started.elapsed();

        let Some(committed_block) = commit_when_there_is_space(&channel, checked_block, &shutdown).await? else {
            return Ok(());
        };

        take_over_config(&channel, &committed_block.block)?;
        announce(channel.commits(), &committed_block);
        record(channel.id(), &findings, &committed_block, checked, started.elapsed());
    }
    Ok(())
}

/// Takes the next block through the same stages on this thread, for blocks that come from
/// elsewhere than the orderers. It has to be verified, as by `deliver_client::verify`. Blocks
/// on the disk; nobody is told and a full disk is not waited for.
///
/// # Errors
/// As [`run`].
pub fn commit_next(channel: &Channel, msp_id: &str, block: Block) -> Result<Arc<CommittedBlock>, CommitterError> {
    let channel_id = || channel.id().to_owned();
    let (_, checked_block) =
        check(channel, msp_id, block).map_err(|halt| CommitterError::Halted { channel_id: channel_id(), halt })?;
    let committed = channel.ledger().commit(checked_block);
    let committed = committed.map_err(|cause| CommitterError::Ledger { channel_id: channel_id(), cause })?;
    take_over_config(channel, &committed.block)?;
    Ok(committed)
}

/// Stage one, and the clear values that this organization's approvals stand for.
fn check(channel: &Channel, msp_id: &str, block: Block) -> Result<(Vec<Finding>, CheckedBlock), Halt> {
    let before =
        Before { config: channel.config(), state: channel.ledger().state(), ledger: Arc::clone(channel.ledger()) };
    let findings = validator::validate(&block, &before)?;
    let verdicts = findings.iter().map(|finding| finding.verdict.clone()).collect();
    let private_writes = private_writes(&findings, msp_id);
    Ok((findings, CheckedBlock { block, verdicts, private_writes }))
}

fn private_writes(findings: &[Finding], msp_id: &str) -> Vec<PrivateWrite> {
    let calls =
        findings.iter().enumerate().filter_map(|(index, finding)| Some((index, finding.lifecycle_call.as_ref()?)));
    let mut writes = Vec::new();
    for (tx_index, call) in calls {
        for (collection, key, value) in approvals::private_writes(&call.proposal_payload, &call.read_write_set, msp_id)
        {
            let namespace = lifecycle::NAMESPACE.to_owned();
            writes.push(PrivateWrite { tx_index: tx_index as u32, namespace, collection, key, value });
        }
    }
    writes
}

/// Commits, and waits while the disk is full: no block is taken meanwhile, reads go on.
/// `None` when the peer shuts down before there is space.
async fn commit_when_there_is_space(
    channel: &Channel,
    checked_block: CheckedBlock,
    shutdown: &CancellationToken,
) -> Result<Option<Arc<CommittedBlock>>, CommitterError> {
    loop {
        let (ledger, checked_block) = (Arc::clone(channel.ledger()), checked_block.clone());
        let committed = tokio::task::spawn_blocking(move || ledger.commit(checked_block)).await;
        match committed.map_err(|cause| CommitterError::Broken { channel_id: channel.id().to_owned(), cause })? {
            Ok(committed_block) => return Ok(Some(committed_block)),
            Err(full) if full.is_no_space() => {
                tracing::error!(channel = channel.id(), "{full}; trying again in {} s", SPACE_PAUSE.as_secs());
                if shutdown.run_until_cancelled(tokio::time::sleep(SPACE_PAUSE)).await.is_none() {
                    return Ok(None);
                }
            }
            Err(cause) => return Err(CommitterError::Ledger { channel_id: channel.id().to_owned(), cause }),
        }
    }
}

/// The configuration of a committed block is in force from the next block on.
fn take_over_config(channel: &Channel, block: &Block) -> Result<(), CommitterError> {
    if !block::is_config(block) {
        return Ok(());
    }
    let number = number_of(block);
    let config = ChannelConfig::from_block(block).map_err(|cause| CommitterError::Config {
        channel_id: channel.id().to_owned(),
        number,
        cause: Box::new(cause),
    })?;
    channel.replace_config(config);
    Ok(())
}

/// Tells the waiters; the state of the block can be read by now.
fn announce(commits: &Commits, committed_block: &CommittedBlock) {
    let block_number = number_of(&committed_block.block);
    for (tx_index, (tx_id, code)) in committed_block.tx_ids.iter().zip(&committed_block.codes).enumerate() {
        if let Some(tx_id) = tx_id {
            commits.fire(tx_id, Committed { block_number, tx_index: tx_index as u64, code: *code });
        }
    }
}

fn record(
    channel_id: &str,
    findings: &[Finding],
    committed_block: &CommittedBlock,
    checked: Duration,
    elapsed: Duration,
) {
    let number = number_of(&committed_block.block);
    let channel = channel_id.to_owned();
    metrics::gauge!("ledger_blockchain_height", "channel" => channel.clone()).set((number + 1) as f64);
    metrics::histogram!("ledger_block_processing_time", "channel" => channel.clone()).record(elapsed.as_secs_f64());
    for (finding, code) in findings.iter().zip(&committed_block.codes) {
        let chaincode = if finding.chaincode.is_empty() { "unknown" } else { finding.chaincode.as_str() };
        metrics::counter!(
            "ledger_transaction_count",
            "channel" => channel.clone(),
            "transaction_type" => finding.transaction_type,
            "chaincode" => chaincode.to_owned(),
            "validation_code" => code.as_str_name()
        )
        .increment(1);
    }
    let valid_count = committed_block.codes.iter().filter(|code| **code == TxValidationCode::Valid).count();
    tracing::info!(
        channel = channel_id,
        block = number,
        transaction_count = findings.len(),
        valid_count,
        checked_ms = checked.as_millis() as u64,
        total_ms = elapsed.as_millis() as u64,
        "committed block"
    );
}

fn number_of(block: &Block) -> u64 {
    block.header.as_ref().map_or(0, |header| header.number)
}
