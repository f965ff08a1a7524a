//! The peer's side of a chaincode stream, over real gRPC on a loopback port.
//!
//! [`ScriptedPeer`] sends and receives single messages; [`LedgerPeer`] answers a
//! transaction from a map, as a peer would, and notes what was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;
use ripstop_proto::common::{ChannelHeader, Header, SignatureHeader};
use ripstop_proto::msp::SerializedIdentity;
use ripstop_proto::protos::chaincode_client::ChaincodeClient;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::write_record::Type as RecordType;
use ripstop_proto::protos::{
    ChaincodeAdditionalParams, ChaincodeEvent, ChaincodeHeaderExtension, ChaincodeId, ChaincodeInput,
    ChaincodeInvocationSpec, ChaincodeMessage, ChaincodeProposalPayload, ChaincodeSpec, DelState, GetState,
    GetStateByRange, GetStateMultiple, GetStateMultipleResult, Proposal, PutState, QueryResponse, QueryResultBytes,
    QueryStateNext, Response, SignedProposal, WriteBatchState,
};
use ripstop_proto::queryresult::Kv;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Results of one page, as Fabric's peer has it.
const PAGE: usize = 100;

/// A connection on which the test says every word.
pub(crate) struct ScriptedPeer {
    pub(crate) to_chaincode: mpsc::Sender<ChaincodeMessage>,
    pub(crate) from_chaincode: Streaming<ChaincodeMessage>,
}

impl ScriptedPeer {
    /// Opens a stream; nothing is said yet.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self::on(channel).await
    }

    pub(crate) async fn on(channel: Channel) -> Self {
        let (to_chaincode, outgoing) = mpsc::channel(1024);
        let stream = ChaincodeClient::new(channel).connect(ReceiverStream::new(outgoing)).await.unwrap();
        Self { to_chaincode, from_chaincode: stream.into_inner() }
    }

    /// Opens a stream and registers the chaincode as a peer of Fabric 3.1 does.
    pub(crate) async fn registered(address: SocketAddr) -> Self {
        Self::registered_with(address, Some(multi_get(1000))).await
    }

    pub(crate) async fn registered_with(address: SocketAddr, parameters: Option<ChaincodeAdditionalParams>) -> Self {
        let mut peer = Self::connect(address).await;
        peer.expect(Type::Register).await;
        peer.admit(parameters).await;
        peer
    }

    /// REGISTERED and READY.
    pub(crate) async fn admit(&mut self, parameters: Option<ChaincodeAdditionalParams>) {
        self.send(message(Type::Registered, "", "", Bytes::new())).await;
        let payload = parameters.map(|parameters| parameters.encode_to_vec()).unwrap_or_default();
        self.send(message(Type::Ready, "", "", payload.into())).await;
    }

    pub(crate) async fn send(&self, message: ChaincodeMessage) {
        self.to_chaincode.send(message).await.unwrap();
    }

    /// The next message, `None` when the chaincode ended the stream.
    pub(crate) async fn next(&mut self) -> Option<ChaincodeMessage> {
        self.from_chaincode.message().await.unwrap()
    }

    /// The next message, which has to be of `kind`.
    pub(crate) async fn expect(&mut self, kind: Type) -> ChaincodeMessage {
        let message = self.next().await.expect("the chaincode ended the stream");
        assert_eq!(message.r#type, i32::from(kind), "{message:?}");
        message
    }

    /// Answers a request of a transaction.
    pub(crate) async fn answer(&self, request: &ChaincodeMessage, payload: impl Into<Bytes>) {
        self.send(message(Type::Response, &request.channel_id, &request.txid, payload.into())).await;
    }

    /// Calls the contract; the caller answers what it asks.
    pub(crate) async fn call(&self, channel_id: &str, tx_id: &str, args: &[&str]) {
        self.send(transaction(channel_id, tx_id, args)).await;
    }
}

pub(crate) fn message(kind: Type, channel_id: &str, tx_id: &str, payload: Bytes) -> ChaincodeMessage {
    ChaincodeMessage {
        r#type: kind.into(),
        payload,
        txid: tx_id.to_owned(),
        channel_id: channel_id.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn multi_get(max: u32) -> ChaincodeAdditionalParams {
    ChaincodeAdditionalParams {
        use_write_batch: true,
        max_size_write_batch: 1000,
        use_get_multiple_keys: true,
        max_size_get_multiple_keys: max,
    }
}

/// A call with a proposal of Org1MSP's "user1", made at second 1,700,000,000, with the
/// transient value `secret`.
pub(crate) fn transaction(channel_id: &str, tx_id: &str, args: &[&str]) -> ChaincodeMessage {
    let input = ChaincodeInput {
        args: args.iter().map(|argument| Bytes::copy_from_slice(argument.as_bytes())).collect(),
        ..Default::default()
    };
    let proposal = proposal(channel_id, tx_id, input.clone());
    ChaincodeMessage {
        proposal: Some(SignedProposal { proposal_bytes: encoded(&proposal), signature: Bytes::from_static(b"s") }),
        ..message(Type::Transaction, channel_id, tx_id, encoded(&input))
    }
}

fn proposal(channel_id: &str, tx_id: &str, input: ChaincodeInput) -> Proposal {
    let chaincode = ChaincodeId { name: "basic".to_owned(), ..Default::default() };
    let channel_header = ChannelHeader {
        r#type: 3,
        timestamp: Some(Timestamp { seconds: 1_700_000_000, nanos: 5 }),
        channel_id: channel_id.to_owned(),
        tx_id: tx_id.to_owned(),
        extension: encoded(&ChaincodeHeaderExtension { chaincode_id: Some(chaincode.clone()) }),
        ..Default::default()
    };
    let creator = SerializedIdentity { mspid: "Org1MSP".to_owned(), id_bytes: Bytes::from_static(b"user1") };
    let signature_header = SignatureHeader { creator: encoded(&creator), nonce: Bytes::from_static(&[7; 24]) };
    let spec = ChaincodeSpec { chaincode_id: Some(chaincode), input: Some(input), ..Default::default() };
    let payload = ChaincodeProposalPayload {
        input: encoded(&ChaincodeInvocationSpec { chaincode_spec: Some(spec) }),
        transient_map: BTreeMap::from([("secret".to_owned(), Bytes::from_static(b"whisper"))]),
    };
    let header = Header { channel_header: encoded(&channel_header), signature_header: encoded(&signature_header) };
    Proposal { header: encoded(&header), payload: encoded(&payload), ..Default::default() }
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// How a transaction ended at a [`LedgerPeer`].
#[derive(Debug)]
pub(crate) struct Ended {
    /// COMPLETED's response, or ERROR's text.
    pub(crate) response: Result<Response, String>,
    pub(crate) event: Option<ChaincodeEvent>,
    /// The types of all requests, in their order.
    pub(crate) asked: Vec<Type>,
}

impl Ended {
    /// The payload as text of a transaction that ended well.
    pub(crate) fn text(&self) -> &str {
        let response = self.response.as_ref().unwrap();
        assert_eq!((response.status, response.message.as_str()), (200, ""));
        std::str::from_utf8(&response.payload).unwrap()
    }

    /// The message of a transaction that the contract declined with status 500.
    pub(crate) fn failure(&self) -> &str {
        let response = self.response.as_ref().unwrap();
        assert_eq!((response.status, &response.payload[..]), (500, &b""[..]));
        &response.message
    }
}

/// A peer with a ledger of one namespace. Runs one transaction at a time and commits its
/// writes when its status is below 400.
pub(crate) struct LedgerPeer {
    peer: ScriptedPeer,
    pub(crate) state: BTreeMap<String, Bytes>,
    open_ranges: BTreeMap<String, Vec<QueryResultBytes>>,
    tx_count: u32,
}

impl LedgerPeer {
    pub(crate) fn new(peer: ScriptedPeer) -> Self {
        Self { peer, state: BTreeMap::new(), open_ranges: BTreeMap::new(), tx_count: 0 }
    }

    pub(crate) async fn invoke(&mut self, args: &[&str]) -> Ended {
        self.tx_count += 1;
        self.peer.call("mychannel", &format!("tx{}", self.tx_count), args).await;
        let (mut writes, mut asked) = (BTreeMap::new(), Vec::new());
        loop {
            let message = self.peer.next().await.expect("the chaincode ended the stream");
            let kind = Type::try_from(message.r#type).unwrap();
            match kind {
                Type::Completed => {
                    let response = Response::decode(message.payload).unwrap();
                    if response.status < 400 {
                        self.commit(writes);
                    }
                    return Ended { response: Ok(response), event: message.chaincode_event, asked };
                }
                Type::Error => {
                    let text = String::from_utf8(message.payload.to_vec()).unwrap();
                    return Ended { response: Err(text), event: None, asked };
                }
                request => {
                    asked.push(request);
                    let payload = self.carry_out(request, message.payload.clone(), &mut writes);
                    self.peer.answer(&message, payload).await;
                }
            }
        }
    }

    fn commit(&mut self, writes: BTreeMap<String, Option<Bytes>>) {
        for (key, value) in writes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
    }

    fn carry_out(&mut self, request: Type, payload: Bytes, writes: &mut BTreeMap<String, Option<Bytes>>) -> Bytes {
        match request {
            Type::GetState => self.value(&GetState::decode(payload).unwrap().key),
            Type::GetStateMultiple => {
                let keys = GetStateMultiple::decode(payload).unwrap().keys;
                encoded(&GetStateMultipleResult { values: keys.iter().map(|key| self.value(key)).collect() })
            }
            Type::PutState => {
                let put = PutState::decode(payload).unwrap();
                writes.insert(put.key, Some(put.value));
                Bytes::new()
            }
            Type::DelState => {
                writes.insert(DelState::decode(payload).unwrap().key, None);
                Bytes::new()
            }
            Type::WriteBatchState => {
                for record in WriteBatchState::decode(payload).unwrap().rec {
                    let value = match record.r#type() {
                        RecordType::PutState => Some(record.value),
                        RecordType::DelState => None,
                        other => panic!("a contract wrote {other:?}"),
                    };
                    writes.insert(record.key, value);
                }
                Bytes::new()
            }
            Type::GetStateByRange => self.open(GetStateByRange::decode(payload).unwrap()),
            Type::QueryStateNext => self.page(QueryStateNext::decode(payload).unwrap().id),
            Type::QueryStateClose => encoded(&QueryResponse::default()),
            other => panic!("a contract asked for {other:?}"),
        }
    }

    fn value(&self, key: &str) -> Bytes {
        self.state.get(key).cloned().unwrap_or_default()
    }

    fn open(&mut self, bounds: GetStateByRange) -> Bytes {
        let ends_before = |key: &str| bounds.end_key.is_empty() || key < bounds.end_key.as_str();
        let results = self
            .state
            .range(bounds.start_key.clone()..)
            .take_while(|(key, _)| ends_before(key))
            .map(|(key, value)| Kv { namespace: "basic".to_owned(), key: key.clone(), value: value.clone() })
            .map(|entry| QueryResultBytes { result_bytes: encoded(&entry) })
            .collect();
        let id = format!("range{}", self.open_ranges.len());
        self.open_ranges.insert(id.clone(), results);
        self.page(id)
    }

    fn page(&mut self, id: String) -> Bytes {
        let left = self.open_ranges.get_mut(&id).expect("the range is open");
        let results = left.drain(..left.len().min(PAGE)).collect();
        let has_more = !left.is_empty();
        encoded(&QueryResponse { results, has_more, id, ..Default::default() })
    }
}
