//! What a contract asks for while it runs one transaction: reads, writes, ranges.
//!
//! Every request gets exactly one answer. A request of a kind that is not built gets an
//! error that names it: accepting it silently would change what the contract means.
//! Source of kinds and texts: Fabric `core/chaincode/handler.go`.

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::Simulator;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{
    ChaincodeMessage, DelState, GetState, GetStateByRange, GetStateMultiple, GetStateMultipleResult, PutState,
    QueryMetadata, QueryResponse, QueryStateClose, QueryStateNext, WriteBatchState, WriteRecord, write_record,
};

use super::ranges::Ranges;

/// One transaction of one chaincode, between its start and its end.
pub struct Requests<'a> {
    simulator: &'a mut Simulator,
    namespace: &'a str,
    ranges: Ranges,
}

/// Whether a message of this type asks the peer for something.
pub(crate) fn is_request(kind: Type) -> bool {
    matches!(
        kind,
        Type::GetState
            | Type::GetStateMultiple
            | Type::PutState
            | Type::DelState
            | Type::WriteBatchState
            | Type::GetStateByRange
            | Type::QueryStateNext
            | Type::QueryStateClose
            | Type::GetQueryResult
            | Type::GetHistoryForKey
            | Type::GetStateMetadata
            | Type::PutStateMetadata
            | Type::GetPrivateDataHash
            | Type::PurgePrivateData
            | Type::InvokeChaincode
    )
}

/// The answer `RESPONSE` or `ERROR` to `request`, whose ids it repeats: contracts find
/// the waiting transaction by them.
pub(crate) fn reply(request: ChaincodeMessage, outcome: Result<Bytes, String>) -> ChaincodeMessage {
    let (kind, payload) = match outcome {
        Ok(payload) => (Type::Response, payload),
        Err(cause) => {
            let text = format!("{} failed: transaction ID: {}: {cause}", request.r#type().as_str_name(), request.txid);
            (Type::Error, text.into())
        }
    };
    ChaincodeMessage {
        r#type: kind.into(),
        payload,
        txid: request.txid,
        channel_id: request.channel_id,
        ..ChaincodeMessage::default()
    }
}

impl<'a> Requests<'a> {
    /// Requests of a chaincode are answered from, and noted in, this simulator.
    pub fn new(simulator: &'a mut Simulator, namespace: &'a str) -> Self {
        Self { simulator, namespace, ranges: Ranges::default() }
    }

    /// Answers one request.
    pub fn answer(&mut self, request: ChaincodeMessage) -> ChaincodeMessage {
        let outcome = self.outcome(request.r#type(), request.payload.clone());
        reply(request, outcome)
    }

    fn outcome(&mut self, kind: Type, payload: Bytes) -> Result<Bytes, String> {
        match kind {
            Type::GetState => self.get(decode(payload)?),
            Type::GetStateMultiple => self.get_multiple(decode(payload)?),
            Type::PutState => self.put(decode(payload)?),
            Type::DelState => self.delete(decode(payload)?),
            Type::WriteBatchState => self.write_batch(decode(payload)?),
            Type::GetStateByRange => self.open_range(decode(payload)?),
            Type::QueryStateNext => self.next_page(decode(payload)?),
            Type::QueryStateClose => self.close_range(decode(payload)?),
            Type::GetQueryResult => Err("ExecuteQuery not supported for leveldb".to_owned()),
            Type::GetHistoryForKey => {
                Err("history database is not enabled: this version does not support it".to_owned())
            }
            other => Err(not_supported(other.as_str_name())),
        }
    }

    fn get(&mut self, request: GetState) -> Result<Bytes, String> {
        public_only(&request.collection)?;
        let value = self.simulator.get_state(self.namespace, &request.key).map_err(text)?;
        Ok(value.unwrap_or_default())
    }

    fn get_multiple(&mut self, request: GetStateMultiple) -> Result<Bytes, String> {
        public_only(&request.collection)?;
        let found = self.simulator.get_states(self.namespace, &request.keys).map_err(text)?;
        let values = found.into_iter().map(Option::unwrap_or_default).collect();
        Ok(GetStateMultipleResult { values }.encode_to_vec().into())
    }

    fn put(&mut self, request: PutState) -> Result<Bytes, String> {
        public_only(&request.collection)?;
        self.simulator.put_state(self.namespace, &request.key, request.value).map_err(text)?;
        Ok(Bytes::new())
    }

    fn delete(&mut self, request: DelState) -> Result<Bytes, String> {
        public_only(&request.collection)?;
        self.simulator.delete_state(self.namespace, &request.key).map_err(text)?;
        Ok(Bytes::new())
    }

    fn write_batch(&mut self, batch: WriteBatchState) -> Result<Bytes, String> {
        for record in batch.rec {
            self.write(record)?;
        }
        Ok(Bytes::new())
    }

    fn write(&mut self, record: WriteRecord) -> Result<Bytes, String> {
        use write_record::Type as Kind;
        match Kind::try_from(record.r#type) {
            Ok(Kind::PutState) => {
                self.put(PutState { key: record.key, value: record.value, collection: record.collection })
            }
            Ok(Kind::DelState) => self.delete(DelState { key: record.key, collection: record.collection }),
            Ok(kind @ (Kind::PutStateMetadata | Kind::PurgePrivateData)) => Err(not_supported(kind.as_str_name())),
            Ok(Kind::Undefined) | Err(_) => Err("unknown operation type".to_owned()),
        }
    }

    fn open_range(&mut self, request: GetStateByRange) -> Result<Bytes, String> {
        public_only(&request.collection)?;
        let metadata: QueryMetadata = decode(request.metadata)?;
        if metadata.page_size != 0 || !metadata.bookmark.is_empty() {
            return Err(not_supported("GET_STATE_BY_RANGE with pagination"));
        }
        let page = self.ranges.open(self.simulator, self.namespace, &request.start_key, &request.end_key)?;
        Ok(page.encode_to_vec().into())
    }

    fn next_page(&mut self, request: QueryStateNext) -> Result<Bytes, String> {
        let page = self.ranges.next(self.simulator, self.namespace, request.id)?;
        Ok(page.encode_to_vec().into())
    }

    fn close_range(&mut self, request: QueryStateClose) -> Result<Bytes, String> {
        self.ranges.close(self.simulator, &request.id);
        Ok(QueryResponse { id: request.id, ..QueryResponse::default() }.encode_to_vec().into())
    }
}

fn decode<M: Message + Default>(payload: Bytes) -> Result<M, String> {
    M::decode(payload).map_err(|cause| format!("unmarshal failed: {cause}"))
}

fn public_only(collection: &str) -> Result<(), String> {
    if collection.is_empty() {
        return Ok(());
    }
    Err(not_supported(&format!("private data (collection {collection:?})")))
}

fn not_supported(what: &str) -> String {
    format!("{what} is not supported by this version of Ripstop")
}

fn text(cause: impl std::fmt::Display) -> String {
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_both_ids_and_names_what_failed() {
        let request = ChaincodeMessage {
            r#type: Type::PutStateMetadata.into(),
            txid: "tx1".into(),
            channel_id: "mychannel".into(),
            ..ChaincodeMessage::default()
        };
        let answer = reply(request, Err(not_supported("PUT_STATE_METADATA")));
        assert_eq!((answer.txid.as_str(), answer.channel_id.as_str()), ("tx1", "mychannel"));
        assert_eq!(answer.r#type(), Type::Error);
        assert_eq!(
            &answer.payload[..],
            b"PUT_STATE_METADATA failed: transaction ID: tx1: PUT_STATE_METADATA is not supported by this version of Ripstop"
        );
    }

    #[test]
    fn neither_an_end_nor_a_greeting_is_a_request() {
        for kind in [Type::Completed, Type::Error, Type::Register, Type::Keepalive, Type::Response, Type::Transaction] {
            assert!(!is_request(kind), "{kind:?}");
        }
    }
}
