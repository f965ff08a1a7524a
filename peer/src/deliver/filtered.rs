//! What a filtered block tells: of each transaction its id, type and code, and of its
//! chaincode event all but the payload.
//!
//! Every envelope that can be read is there, in order: configurations and invalid
//! transactions too. One whose actions cannot be read is there without actions (Fabric
//! refuses the whole block then, which lets one bad envelope end every client's stream).
//! Source: Fabric `core/peer/deliverevents.go`.

use bytes::Bytes;
use prost::{DecodeError, Message};
use ripstop_node::deliver::Form;
use ripstop_proto::block::{TRANSACTIONS_FILTER, metadata_slot};
use ripstop_proto::common::{Block, ChannelHeader, Envelope, HeaderType, Payload, Status};
use ripstop_proto::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEvent, DeliverResponse, FilteredBlock, FilteredChaincodeAction,
    FilteredTransaction, FilteredTransactionActions, ProposalResponsePayload, Transaction, TransactionAction,
    TxValidationCode, deliver_response, filtered_transaction,
};

/// Filtered blocks for `protos.Deliver/DeliverFiltered`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FilteredBlocks;

impl Form for FilteredBlocks {
    type Response = DeliverResponse;

    const DATA_TYPE: &'static str = "filtered_block";
    const FILTERED: bool = true;

    fn status(&self, status: Status) -> DeliverResponse {
        DeliverResponse { r#type: Some(deliver_response::Type::Status(status.into())) }
    }

    fn block(&self, channel_id: &str, block: Block) -> Result<DeliverResponse, String> {
        let block = filtered_block(channel_id, &block);
        Ok(DeliverResponse { r#type: Some(deliver_response::Type::FilteredBlock(block)) })
    }
}

/// The filtered form of a committed block of the channel `channel_id`.
pub fn filtered_block(channel_id: &str, block: &Block) -> FilteredBlock {
    let mut filtered = FilteredBlock {
        channel_id: channel_id.to_owned(),
        number: block.header.as_ref().map_or(0, |header| header.number),
        ..FilteredBlock::default()
    };
    let codes = metadata_slot(block, TRANSACTIONS_FILTER);
    let entries = block.data.as_ref().map_or(&[][..], |data| &data.data);
    for (index, entry) in entries.iter().enumerate() {
        let Some((header, data)) = opened(entry) else { continue };
        let code = codes.get(index).map_or(TxValidationCode::NotValidated as i32, |code| i32::from(*code));
        filtered.filtered_transactions.push(filtered_transaction(&header, data, code));
        filtered.channel_id = header.channel_id;
    }
    filtered
}

/// Channel header and data of an entry. The signature header is not looked at.
fn opened(entry: &Bytes) -> Option<(ChannelHeader, Bytes)> {
    let envelope = Envelope::decode(entry.clone()).ok()?;
    let payload = Payload::decode(envelope.payload).ok()?;
    let header = ChannelHeader::decode(payload.header?.channel_header).ok()?;
    Some((header, payload.data))
}

fn filtered_transaction(header: &ChannelHeader, data: Bytes, code: i32) -> FilteredTransaction {
    let endorsed = header.r#type == HeaderType::EndorserTransaction as i32;
    let data = endorsed.then(|| {
        let chaincode_actions = chaincode_actions(data).unwrap_or_default();
        filtered_transaction::Data::TransactionActions(FilteredTransactionActions { chaincode_actions })
    });
    FilteredTransaction { txid: header.tx_id.clone(), r#type: header.r#type, tx_validation_code: code, data }
}

fn chaincode_actions(data: Bytes) -> Result<Vec<FilteredChaincodeAction>, DecodeError> {
    let actions = Transaction::decode(data)?.actions.into_iter();
    actions.filter_map(|action| event_of(action).transpose()).map(|event| event.map(without_payload)).collect()
}

/// The event of one action; none where its chaincode is not named.
fn event_of(action: TransactionAction) -> Result<Option<ChaincodeEvent>, DecodeError> {
    let Some(endorsed) = ChaincodeActionPayload::decode(action.payload)?.action else { return Ok(None) };
    let response = ProposalResponsePayload::decode(endorsed.proposal_response_payload)?;
    let event = ChaincodeEvent::decode(ChaincodeAction::decode(response.extension)?.events)?;
    Ok(Some(event).filter(|event| !event.chaincode_id.is_empty()))
}

fn without_payload(event: ChaincodeEvent) -> FilteredChaincodeAction {
    FilteredChaincodeAction { chaincode_event: Some(ChaincodeEvent { payload: Bytes::new(), ..event }) }
}
