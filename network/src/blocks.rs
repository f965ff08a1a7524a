//! `block N` and `tx TXID`: what a peer has, opened. The peer's `qscc` answers.

use anyhow::Context;
use prost::Message;
use ripstop_proto::block::header_hash;
use ripstop_proto::common;
use ripstop_proto::envelope::OpenEnvelope;
use serde_json::json;

use crate::cli::{BlockNumber, Target};
use crate::decoded::block::{Before, Block, Entry};
use crate::folder::Folder;
use crate::output::{print, say};
use crate::session::Session;

const QSCC: &str = "qscc";

/// Prints a block.
pub(crate) async fn block(folder: &Folder, target: &Target, number: BlockNumber, json: bool) -> anyhow::Result<()> {
    let session = Session::open(folder, target).await?;
    let block = fetch(&session, number.0).await?;
    let before = match block.header.as_ref().and_then(|header| header.number.checked_sub(1)) {
        Some(number) => fetch(&session, number).await?.header,
        None => None,
    };
    let block = Block::open(&block, &Before { hash: before.as_ref().map(header_hash), config: None });
    if json { say(&serde_json::to_string(&block)?) } else { print(&block) }
}

/// Prints a transaction.
pub(crate) async fn transaction(folder: &Folder, target: &Target, tx_id: &str, json: bool) -> anyhow::Result<()> {
    let session = Session::open(folder, target).await?;
    let payload = session.ask(session.channel(), QSCC, "GetBlockByTxID", &[session.channel(), tx_id]).await?;
    let block = common::Block::decode(payload).context("the peer's answer is no block")?;
    let number = block.header.as_ref().map_or(0, |header| header.number);
    let count = block.data.as_ref().map_or(0, |data| data.data.len());
    let entry = (0..count).filter_map(|index| Entry::of(&block, index)).find(|entry| entry.tx_id() == tx_id);
    let entry = entry.with_context(|| format!("block {number} does not hold {tx_id}"))?;
    if json {
        let mut shown = serde_json::to_value(&entry)?;
        shown["block"] = json!(number);
        return say(&shown);
    }
    print(&format!("block {number}\n{entry}"))
}

/// The index of a transaction in a block.
pub(crate) async fn position(session: &Session, number: u64, tx_id: &str) -> anyhow::Result<usize> {
    let entries = fetch(session, number).await?.data.unwrap_or_default().data;
    entries
        .iter()
        .position(|entry| OpenEnvelope::open(entry).is_ok_and(|envelope| envelope.channel_header.tx_id == tx_id))
        .with_context(|| format!("block {number} does not hold {tx_id}"))
}

async fn fetch(session: &Session, number: u64) -> anyhow::Result<common::Block> {
    let arguments = [session.channel(), &number.to_string()];
    let payload = session.ask(session.channel(), QSCC, "GetBlockByNumber", &arguments).await?;
    common::Block::decode(payload).context("the peer's answer is no block")
}
