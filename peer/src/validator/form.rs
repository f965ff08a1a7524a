//! The form of an envelope in a block: do its layers decode, did its creator sign
//! it, is it tied to the proposal that was endorsed?
//!
//! Nothing here depends on state. The outer signature header says who signed and
//! gives the transaction id; the header inside the action is the one the
//! endorsers saw. The two are not compared: the proposal hash ties the inner one.
//! Source: Fabric `core/common/validation/msgvalidation.go`.

use bytes::Bytes;
use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_proto::common::{Envelope, HeaderType, SignatureHeader};
use ripstop_proto::envelope::{EnvelopeError, OpenEnvelope};
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::transaction::OpenTransaction;
use ripstop_proto::{proposal, tx_id};

use super::refused::Refused;

/// Opens an entry of a block and checks its two headers.
pub(super) fn open(entry: &Bytes) -> Result<OpenEnvelope, Refused> {
    let envelope = Envelope::decode(entry.clone())
        .map_err(|cause| Refused::new(TxValidationCode::InvalidOtherReason, format!("no envelope: {cause}")))?;
    let envelope = OpenEnvelope::from_envelope(envelope).map_err(|error| Refused::new(code_of(&error), error))?;
    check_headers(&envelope).map_err(|text| Refused::new(TxValidationCode::BadCommonHeader, text))?;
    Ok(envelope)
}

fn code_of(error: &EnvelopeError) -> TxValidationCode {
    match error {
        EnvelopeError::Envelope(_) => TxValidationCode::InvalidOtherReason,
        EnvelopeError::Payload(_) => TxValidationCode::BadPayload,
        EnvelopeError::NoHeader | EnvelopeError::ChannelHeader(_) | EnvelopeError::SignatureHeader(_) => {
            TxValidationCode::BadCommonHeader
        }
    }
}

fn check_headers(envelope: &OpenEnvelope) -> Result<(), String> {
    match envelope.header_type() {
        Some(HeaderType::EndorserTransaction | HeaderType::ConfigUpdate | HeaderType::Config) => {}
        _ => return Err(format!("header type {} does not belong into a block", envelope.channel_header.r#type)),
    }
    if envelope.channel_header.epoch != 0 {
        return Err(format!("the epoch is {}, it must be 0", envelope.channel_header.epoch));
    }
    check_signature_header(&envelope.signature_header)
}

fn check_signature_header(header: &SignatureHeader) -> Result<(), String> {
    if header.nonce.is_empty() {
        return Err("the signature header has no nonce".into());
    }
    if header.creator.is_empty() {
        return Err("the signature header has no creator".into());
    }
    Ok(())
}

/// Checks that the creator is valid in the channel and signed the payload.
///
/// An envelope made for another channel has no creator here: the members of its
/// channel are none of ours.
pub(super) fn check_creator(envelope: &OpenEnvelope, config: &ChannelConfig) -> Result<(), Refused> {
    let refuse = |text: String| Refused::new(TxValidationCode::BadCreatorSignature, text);
    let channel_id = &envelope.channel_header.channel_id;
    if channel_id != config.channel_id() {
        return Err(refuse(format!("the transaction is for channel {channel_id:?}, its block for another")));
    }
    if envelope.envelope.signature.is_empty() {
        return Err(refuse("the creator's signature is missing".into()));
    }
    let creator = config
        .msps()
        .identity(&envelope.signature_header.creator)
        .map_err(|error| refuse(format!("the creator is not valid in the channel: {error}")))?;
    creator
        .verify(&envelope.envelope.payload, &envelope.envelope.signature)
        .map_err(|error| refuse(format!("the signature of the creator ({}) is wrong: {error}", creator.msp_id())))
}

/// Checks that the transaction id is the one that nonce and creator give.
pub(super) fn check_tx_id(envelope: &OpenEnvelope) -> Result<(), Refused> {
    let header = &envelope.signature_header;
    let computed = tx_id::compute(&header.nonce, &header.creator);
    if computed == envelope.channel_header.tx_id {
        return Ok(());
    }
    Err(Refused::new(
        TxValidationCode::BadProposalTxid,
        format!("the transaction names id {:?}, nonce and creator give {computed}", envelope.channel_header.tx_id),
    ))
}

/// Opens the single action and checks that it answers the proposal it carries.
pub(super) fn open_transaction(envelope: &OpenEnvelope) -> Result<OpenTransaction, Refused> {
    let refuse = |text: String| Refused::new(TxValidationCode::InvalidEndorserTransaction, text);
    if envelope.payload.data.is_empty() {
        return Err(refuse("the payload holds no transaction".into()));
    }
    let transaction =
        OpenTransaction::open(envelope.payload.data.clone()).map_err(|error| refuse(error.to_string()))?;
    let channel_header = &envelope.header.channel_header;
    if channel_header.is_empty() || transaction.proposal_payload_bytes.is_empty() {
        return Err(refuse("a part of the proposal hash is missing".into()));
    }
    let hash = proposal::hash_at_validation(
        channel_header,
        &transaction.action_header_bytes,
        &transaction.proposal_payload_bytes,
    );
    if hash != *transaction.response_payload.proposal_hash {
        return Err(refuse("the endorsed proposal hash is not that of the proposal in the transaction".into()));
    }
    Ok(transaction)
}
