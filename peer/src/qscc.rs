//! `qscc`: blocks and transactions of a channel, as `peer channel getinfo` and many
//! clients ask for them. Reads only. Source: Fabric `core/scc/qscc/query.go`.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{Ledger, TransactionPosition};
use ripstop_msp::SignedBytes;
use ripstop_proto::common::{Block, Envelope};
use ripstop_proto::protos::{ProcessedTransaction, Response};

use crate::access;
use crate::channel::Channels;

/// Asked for as a block number, this means the newest block.
const NEWEST: u64 = u64::MAX;

/// The system chaincode `qscc` of one peer.
pub struct Qscc {
    channels: Arc<Channels>,
}

impl Qscc {
    /// Answers for these channels.
    pub fn new(channels: Arc<Channels>) -> Self {
        Self { channels }
    }

    /// Runs one function; `signed` is what the caller signed. Reads from disk.
    pub fn invoke(&self, args: &[Bytes], signed: &SignedBytes<'_>) -> Response {
        match self.run(args, signed) {
            Ok(payload) => Response { status: 200, message: String::new(), payload },
            Err(message) => Response { status: 500, message, payload: Bytes::new() },
        }
    }

    fn run(&self, args: &[Bytes], signed: &SignedBytes<'_>) -> Result<Bytes, String> {
        let [function, channel_id, rest @ ..] = args else {
            return Err(format!("Incorrect number of arguments, {}", args.len()));
        };
        let (function, channel_id) = (String::from_utf8_lossy(function), String::from_utf8_lossy(channel_id));
        if function != "GetChainInfo" && rest.is_empty() {
            return Err(format!("missing 3rd argument for {function}"));
        }
        let channel = self.channels.get(&channel_id).ok_or_else(|| format!("Invalid chain ID, {channel_id}"))?;
        access::check_channel(&channel.config(), &format!("qscc/{function}"), signed)
            .map_err(|denied| format!("access denied for [{function}][{channel_id}]: [{denied}]"))?;
        let argument = rest.first().cloned().unwrap_or_default();
        answer(channel.ledger(), &function, &argument)
    }
}

fn answer(ledger: &Ledger, function: &str, argument: &[u8]) -> Result<Bytes, String> {
    let text = String::from_utf8_lossy(argument);
    match function {
        "GetChainInfo" => {
            let info = ledger.chain_info().map_err(|cause| format!("Failed to get block info with error {cause}"))?;
            Ok(info.encode_to_vec().into())
        }
        "GetBlockByNumber" => {
            let number =
                text.parse().map_err(|cause| format!("Failed to parse block number with error {cause}: {text:?}"))?;
            let failed = |cause| format!("Failed to get block number {number}, error {cause}");
            let number = if number == NEWEST { ledger.height().saturating_sub(1) } else { number };
            Ok(block(ledger, number).map_err(failed)?.encode_to_vec().into())
        }
        "GetBlockByHash" => {
            let failed = |cause| format!("Failed to get block hash {}, error {cause}", hex::encode(argument));
            Ok(block_by_hash(ledger, argument).map_err(failed)?.encode_to_vec().into())
        }
        "GetBlockByTxID" => {
            let failed = |cause| format!("Failed to get block for txID {text}, error {cause}");
            let position = position(ledger, &text).map_err(failed)?;
            Ok(block(ledger, position.block_number).map_err(failed)?.encode_to_vec().into())
        }
        "GetTransactionByID" => {
            let failed = |cause| format!("Failed to get transaction with id {text}, error {cause}");
            Ok(transaction(ledger, &text).map_err(failed)?.encode_to_vec().into())
        }
        _ => Err(format!("Requested function {function} not found.")),
    }
}

fn block(ledger: &Ledger, number: u64) -> Result<Arc<Block>, String> {
    let height = ledger.height();
    let found = ledger.block(number).map_err(|cause| cause.to_string())?;
    found.ok_or_else(|| format!("no such block number [{number}] in index, the height is {height}"))
}

fn block_by_hash(ledger: &Ledger, hash: &[u8]) -> Result<Arc<Block>, String> {
    let hash = hash.try_into().map_err(|_| format!("a block hash has 32 bytes, not {}", hash.len()))?;
    let number = ledger.block_number_by_hash(hash).map_err(|cause| cause.to_string())?;
    block(ledger, number.ok_or("no such block hash in index")?)
}

fn position(ledger: &Ledger, tx_id: &str) -> Result<TransactionPosition, String> {
    let position = ledger.transaction(tx_id).map_err(|cause| cause.to_string())?;
    position.ok_or_else(|| format!("no such transaction ID [{tx_id}] in index"))
}

fn transaction(ledger: &Ledger, tx_id: &str) -> Result<ProcessedTransaction, String> {
    let TransactionPosition { block_number, tx_index, .. } = position(ledger, tx_id)?;
    let found = ledger.envelope(block_number, tx_index).map_err(|cause| cause.to_string())?;
    let (bytes, code) = found.ok_or_else(|| format!("block {block_number} has no transaction {tx_index}"))?;
    let envelope = Envelope::decode(bytes).map_err(|cause| cause.to_string())?;
    Ok(ProcessedTransaction { transaction_envelope: Some(envelope), validation_code: code.into() })
}
