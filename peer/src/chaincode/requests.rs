//! What a contract asks for while it runs one transaction: reads, writes, queries.
//!
//! Every request gets exactly one answer. Private data gets an error: accepting it silently
//! would change what the contract means. A call of another chaincode is run by `callees`.
//! Source of kinds and texts: Fabric `core/chaincode/handler.go`.

use bytes::Bytes;
use prost::Message;
use ripstop_channel::ApplicationLevel;
use ripstop_ledger::{Metadata, Simulator, SimulatorError};
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{
    ChaincodeMessage, ChaincodeSpec, DelState, GetHistoryForKey, GetState, GetStateByRange, GetStateMetadata,
    GetStateMultiple, GetStateMultipleResult, PurgePrivateState, PutState, PutStateMetadata, QueryMetadata,
    QueryResponse, QueryStateClose, QueryStateNext, StateMetadata, StateMetadataResult, WriteBatchState, WriteRecord,
    write_record,
};

use super::callees::{self, Callees};
use super::host::Call;
use super::queries::{self, Queries, Reader};

/// One transaction of one chaincode, between its start and its end.
pub struct Requests<'a> {
    simulator: &'a mut Simulator,
    namespace: &'a str,
    tx_id: &'a str,
    application: ApplicationLevel,
    is_init: bool,
    callees: &'a dyn Callees,
    queries: Queries,
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
    /// Requests of a called chaincode are answered from, and noted in, this simulator.
    pub fn new(simulator: &'a mut Simulator, call: &Call<'a>) -> Self {
        Self {
            simulator,
            namespace: call.chaincode,
            tx_id: call.tx_id,
            application: call.application,
            is_init: call.input.is_init,
            callees: call.callees,
            queries: Queries::default(),
        }
    }

    /// Answers one request.
    pub async fn answer(&mut self, request: ChaincodeMessage) -> ChaincodeMessage {
        let (kind, payload) = (request.r#type(), request.payload.clone());
        let outcome = match kind {
            Type::InvokeChaincode => self.call(payload).await,
            // A history is read from the blocks on disk.
            Type::GetHistoryForKey | Type::QueryStateNext => {
                tokio::task::block_in_place(|| self.outcome(kind, payload))
            }
            _ => self.outcome(kind, payload),
        };
        reply(request, outcome)
    }

    async fn call(&mut self, payload: Bytes) -> Result<Bytes, String> {
        let spec: ChaincodeSpec = decode(payload)?;
        let end = self.callees.call(spec, self.simulator).await?;
        Ok(callees::answer(&end))
    }

    fn outcome(&mut self, kind: Type, payload: Bytes) -> Result<Bytes, String> {
        match kind {
            Type::GetState => self.get(decode(payload)?),
            Type::GetStateMultiple => self.get_multiple(decode(payload)?),
            Type::PutState => self.put(decode(payload)?),
            Type::DelState => self.delete(decode(payload)?),
            Type::WriteBatchState => self.write_batch(decode(payload)?),
            Type::GetStateByRange => self.open_range(decode(payload)?),
            Type::QueryStateNext => self.next_batch(decode(payload)?),
            Type::QueryStateClose => self.close_query(decode(payload)?),
            Type::GetQueryResult => Err("ExecuteQuery not supported for leveldb".to_owned()),
            Type::GetHistoryForKey => self.open_history(decode(payload)?),
            Type::GetStateMetadata => self.get_metadata(payload),
            Type::PutStateMetadata => self.put_metadata(decode(payload)?),
            Type::GetPrivateDataHash => self.refuse_private(),
            Type::PurgePrivateData => self.purge(decode(payload)?),
            other => Err(format!("{} is no request of a chaincode", other.as_str_name())),
        }
    }

    fn get(&mut self, request: GetState) -> Result<Bytes, String> {
        self.public_only(&request.collection)?;
        let value = self.simulator.get_state(self.namespace, &request.key).map_err(text)?;
        Ok(value.unwrap_or_default())
    }

    fn get_multiple(&mut self, request: GetStateMultiple) -> Result<Bytes, String> {
        self.public_only(&request.collection)?;
        let found = self.simulator.get_states(self.namespace, &request.keys).map_err(text)?;
        let values = found.into_iter().map(Option::unwrap_or_default).collect();
        Ok(GetStateMultipleResult { values }.encode_to_vec().into())
    }

    fn put(&mut self, request: PutState) -> Result<Bytes, String> {
        self.public_only(&request.collection)?;
        let put = self.simulator.put_state(self.namespace, &request.key, request.value);
        put.map_err(|cause| cause_of(&cause, self.tx_id))?;
        Ok(Bytes::new())
    }

    fn delete(&mut self, request: DelState) -> Result<Bytes, String> {
        self.public_only(&request.collection)?;
        let deleted = self.simulator.delete_state(self.namespace, &request.key);
        deleted.map_err(|cause| cause_of(&cause, self.tx_id))?;
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
            Ok(Kind::PutStateMetadata) => self.put_metadata(PutStateMetadata {
                key: record.key,
                collection: record.collection,
                metadata: Some(record.metadata.unwrap_or_default()),
            }),
            Ok(Kind::PurgePrivateData) => {
                self.purge(PurgePrivateState { key: record.key, collection: record.collection })
            }
            Ok(Kind::Undefined) | Err(_) => Err("unknown operation type".to_owned()),
        }
    }

    fn open_range(&mut self, request: GetStateByRange) -> Result<Bytes, String> {
        self.public_only(&request.collection)?;
        let metadata: QueryMetadata = decode(request.metadata)?;
        let (start, end) = (&request.start_key, &request.end_key);
        let (reader, queries) = self.reader();
        let response = match queries::is_paged(&metadata) {
            true => queries::page(reader, start, end, &metadata)?,
            false => queries.open_range(reader, start, end)?,
        };
        Ok(response.encode_to_vec().into())
    }

    fn open_history(&mut self, request: GetHistoryForKey) -> Result<Bytes, String> {
        let (reader, queries) = self.reader();
        Ok(queries.open_history(reader, &request.key)?.encode_to_vec().into())
    }

    fn next_batch(&mut self, request: QueryStateNext) -> Result<Bytes, String> {
        let (reader, queries) = self.reader();
        Ok(queries.next(reader, request.id)?.encode_to_vec().into())
    }

    fn close_query(&mut self, request: QueryStateClose) -> Result<Bytes, String> {
        self.queries.close(self.simulator, &request.id);
        Ok(QueryResponse { id: request.id, ..QueryResponse::default() }.encode_to_vec().into())
    }

    /// The capability is asked for before the request is read, as in Fabric.
    fn get_metadata(&mut self, payload: Bytes) -> Result<Bytes, String> {
        self.require_key_metadata()?;
        let request: GetStateMetadata = decode(payload)?;
        self.public_only(&request.collection)?;
        let metadata = self.simulator.get_metadata(self.namespace, &request.key).map_err(text)?;
        let entries = metadata.into_iter().map(|(metakey, value)| StateMetadata { metakey, value }).collect();
        Ok(StateMetadataResult { entries }.encode_to_vec().into())
    }

    /// The one entry takes the place of all that the key has.
    fn put_metadata(&mut self, request: PutStateMetadata) -> Result<Bytes, String> {
        self.require_key_metadata()?;
        self.public_only(&request.collection)?;
        let entry = request.metadata.ok_or("the request holds no metadata entry")?;
        let metadata = Metadata::from([(entry.metakey, entry.value)]);
        let put = self.simulator.put_metadata(self.namespace, &request.key, metadata);
        put.map_err(|cause| cause_of(&cause, self.tx_id))?;
        Ok(Bytes::new())
    }

    fn require_key_metadata(&self) -> Result<(), String> {
        match self.application >= ApplicationLevel::V1_3 {
            true => Ok(()),
            false => Err("key level endorsement is not enabled, channel application capability of V1_3 or later is \
                          required"
                .to_owned()),
        }
    }

    fn purge(&self, request: PurgePrivateState) -> Result<Bytes, String> {
        match request.collection.is_empty() {
            true => Err("only applicable for private data".to_owned()),
            false => self.refuse_private(),
        }
    }

    fn public_only(&self, collection: &str) -> Result<(), String> {
        if collection.is_empty() { Ok(()) } else { self.refuse_private().map(drop) }
    }

    fn refuse_private(&self) -> Result<Bytes, String> {
        Err(match self.is_init {
            true => "private data APIs are not allowed in chaincode Init()",
            false => "private data collections are not supported yet",
        }
        .to_owned())
    }

    fn reader(&mut self) -> (Reader<'_>, &mut Queries) {
        let reader = Reader { simulator: self.simulator, namespace: self.namespace, tx_id: self.tx_id };
        (reader, &mut self.queries)
    }
}

fn decode<M: Message + Default>(payload: Bytes) -> Result<M, String> {
    M::decode(payload).map_err(|cause| format!("unmarshal failed: {cause}"))
}

/// What the simulator refuses. Some texts begin with the transaction, as in Fabric.
pub(crate) fn cause_of(cause: &SimulatorError, tx_id: &str) -> String {
    match cause.is_unsupported_transaction() {
        true => format!("txid [{tx_id}]: {cause}"),
        false => cause.to_string(),
    }
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
        let answer = reply(request, Err("no such key".to_owned()));
        assert_eq!((answer.txid.as_str(), answer.channel_id.as_str()), ("tx1", "mychannel"));
        assert_eq!(answer.r#type(), Type::Error);
        assert_eq!(&answer.payload[..], b"PUT_STATE_METADATA failed: transaction ID: tx1: no such key");
    }

    #[test]
    fn neither_an_end_nor_a_greeting_is_a_request() {
        for kind in [Type::Completed, Type::Error, Type::Register, Type::Keepalive, Type::Response, Type::Transaction] {
            assert!(!is_request(kind), "{kind:?}");
        }
    }
}
