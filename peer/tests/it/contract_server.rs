//! A contract server that speaks the chaincode protocol message by message, and does
//! what the first argument of a call says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::chaincode_server::{Chaincode, ChaincodeServer};
use ripstop_proto::protos::{
    ChaincodeEvent, ChaincodeId, ChaincodeInput, ChaincodeMessage, ChaincodeSpec, DelState, GetHistoryForKey, GetState,
    GetStateByRange, GetStateMetadata, GetStateMultiple, GetStateMultipleResult, PurgePrivateState, PutState,
    PutStateMetadata, QueryMetadata, QueryResponse, QueryResponseMetadata, QueryResultBytes, QueryStateClose,
    QueryStateNext, Response, StateMetadata, StateMetadataResult, WriteBatchState, WriteRecord,
};
use ripstop_proto::queryresult::{KeyModification, Kv};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Status, Streaming};

/// What several tests ask of the server afterwards.
#[derive(Default)]
pub(crate) struct Seen {
    /// Streams that were opened.
    pub(crate) streams: AtomicUsize,
    /// The last call's first message.
    pub(crate) start: Mutex<Option<ChaincodeMessage>>,
    /// Payload of READY.
    pub(crate) ready: Mutex<Bytes>,
}

/// A running server; it stops when it is dropped.
pub(crate) struct ContractServer {
    pub(crate) address: SocketAddr,
    pub(crate) package_id: Arc<Mutex<String>>,
    pub(crate) seen: Arc<Seen>,
    stop: CancellationToken,
}

impl ContractServer {
    pub(crate) async fn start(tls: Option<ServerTlsConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (package_id, seen, stop) = (Arc::default(), Arc::<Seen>::default(), CancellationToken::new());
        let contract = Contract { package_id: Arc::clone(&package_id), seen: seen.clone(), stop: stop.clone() };
        let mut server = Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        let serving = server
            .add_service(ChaincodeServer::new(contract))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
        tokio::spawn(serving);
        Self { address, package_id, seen, stop }
    }

    /// From now on the server registers as this package.
    pub(crate) fn register_as(&self, package_id: &str) {
        package_id.clone_into(&mut self.package_id.lock().unwrap());
    }
}

impl Drop for ContractServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A package of type ccaas.
pub(crate) fn package(label: &str, connection: &str) -> Vec<u8> {
    let code = archive(&[("connection.json", connection.as_bytes())]);
    let metadata = format!(r#"{{"type":"ccaas","label":"{label}"}}"#);
    archive(&[("metadata.json", metadata.as_bytes()), ("code.tar.gz", &code)])
}

pub(crate) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

struct Contract {
    package_id: Arc<Mutex<String>>,
    seen: Arc<Seen>,
    stop: CancellationToken,
}

type Outgoing = mpsc::Sender<Result<ChaincodeMessage, Status>>;

#[tonic::async_trait]
impl Chaincode for Contract {
    type ConnectStream = ReceiverStream<Result<ChaincodeMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<tonic::Response<Self::ConnectStream>, Status> {
        self.seen.streams.fetch_add(1, Ordering::SeqCst);
        let (outgoing, messages) = mpsc::channel(16);
        let id = ChaincodeId { name: self.package_id.lock().unwrap().clone(), ..Default::default() };
        outgoing.send(Ok(message(Type::Register, id.encode_to_vec()))).await.unwrap();
        let stream = Stream { outgoing, seen: self.seen.clone(), turns: HashMap::new() };
        let serving = stream.serve(request.into_inner());
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(serving).await });
        Ok(tonic::Response::new(ReceiverStream::new(messages)))
    }
}

struct Stream {
    outgoing: Outgoing,
    seen: Arc<Seen>,
    turns: HashMap<(String, String), mpsc::Sender<ChaincodeMessage>>,
}

impl Stream {
    async fn serve(mut self, mut incoming: Streaming<ChaincodeMessage>) {
        assert_eq!(incoming.message().await.unwrap().unwrap().r#type(), Type::Registered);
        let ready = incoming.message().await.unwrap().unwrap();
        assert_eq!(ready.r#type(), Type::Ready);
        *self.seen.ready.lock().unwrap() = ready.payload;
        let (ended, mut ends) = mpsc::channel::<()>(1);
        loop {
            let message = tokio::select! {
                message = incoming.message() => message,
                _ = ends.recv() => return,
            };
            let Ok(Some(message)) = message else { return };
            let id = (message.channel_id.clone(), message.txid.clone());
            match message.r#type() {
                Type::Transaction | Type::Init => {
                    *self.seen.start.lock().unwrap() = Some(message.clone());
                    let (replies, inbox) = mpsc::channel(4);
                    self.turns.insert(id, replies);
                    let turn = Turn { outgoing: self.outgoing.clone(), inbox, start: message };
                    tokio::spawn(turn.run(ended.clone()));
                }
                _ => {
                    if let Some(turn) = self.turns.get(&id) {
                        let _ = turn.send(message).await;
                    }
                }
            }
        }
    }
}

/// One transaction, as a contract sees it.
struct Turn {
    outgoing: Outgoing,
    inbox: mpsc::Receiver<ChaincodeMessage>,
    start: ChaincodeMessage,
}

impl Turn {
    async fn run(mut self, end_stream: mpsc::Sender<()>) {
        let input = ChaincodeInput::decode(self.start.payload.clone()).unwrap();
        let args: Vec<String> = input.args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match args.as_slice() {
            ["silent"] => {}
            ["die"] => end_stream.send(()).await.unwrap(),
            ["error", text] => self.send(Type::Error, text.as_bytes().to_vec()).await,
            ["flood"] => self.flood().await,
            other => {
                let outcome = self.call(other).await;
                let response = match outcome {
                    Ok((status, payload)) => Response { status, message: String::new(), payload },
                    Err(message) => Response { status: 500, message, payload: Bytes::new() },
                };
                let event = ChaincodeEvent { event_name: "called".into(), ..Default::default() };
                let mut end = message(Type::Completed, response.encode_to_vec());
                end.chaincode_event = Some(event);
                self.send_message(end).await;
            }
        }
    }

    async fn call(&mut self, args: &[&str]) -> Result<(i32, Bytes), String> {
        let payload = match args {
            ["status", status] => return Ok((status.parse().unwrap(), Bytes::from_static(b"said"))),
            ["nothing"] => Bytes::new(),
            ["get", key] => self.get(key).await?,
            ["put", key, value] => self.put(key, value).await?,
            ["put then get", key, value] => {
                self.put(key, value).await?;
                self.get(key).await?
            }
            ["delete", key] => self.ask(Type::DelState, DelState { key: (*key).into(), ..Default::default() }).await?,
            ["get many", keys @ ..] => self.get_many(keys).await?,
            ["batch"] => self.batch().await?,
            ["fill", count] => self.fill(count.parse().unwrap()).await?,
            ["range", start, end] => self.range(start, end, usize::MAX).await?,
            ["first page", start, end] => self.range(start, end, 1).await?,
            ["close twice"] => {
                let close = || QueryStateClose { id: "nobody knows it".into() };
                self.ask(Type::QueryStateClose, close()).await?;
                self.ask(Type::QueryStateClose, close()).await?
            }
            ["next of nothing"] => self.ask(Type::QueryStateNext, QueryStateNext { id: "x".into() }).await?,
            ["page", start, end, size, bookmark] => self.page(start, end, size.parse().unwrap(), bookmark).await?,
            ["page then put"] => {
                self.page("", "", 1, "").await?;
                self.put("k", "v").await?
            }
            ["put then page"] => {
                self.put("k", "v").await?;
                self.page("", "", 1, "").await?
            }
            ["history", key] => self.history(key).await?,
            ["get metadata", key] => self.metadata_of(key).await?,
            ["set policy", key, policy] => {
                let (key, metadata) = ((*key).into(), Some(policy_entry(policy)));
                self.ask(Type::PutStateMetadata, PutStateMetadata { key, metadata, ..Default::default() }).await?
            }
            ["put with policy", key, policy] => {
                let put = WriteRecord { r#type: 9, key: (*key).into(), value: "v".into(), ..Default::default() };
                let metadata = Some(policy_entry(policy));
                let set = WriteRecord { r#type: 21, key: (*key).into(), metadata, ..Default::default() };
                self.ask(Type::WriteBatchState, WriteBatchState { rec: vec![put, set] }).await?
            }
            ["call", callee, args @ ..] => self.call_other(callee, args).await?,
            ["put and call", key, callee, args @ ..] => {
                self.put(key, "mine").await?;
                self.call_other(callee, args).await?
            }
            ["private", collection] => {
                self.ask(Type::GetState, GetState { key: "k".into(), collection: (*collection).into() }).await?
            }
            ["purge", collection] => {
                let purge = PurgePrivateState { key: "k".into(), collection: (*collection).into() };
                self.ask(Type::PurgePrivateData, purge).await?
            }
            ["purge in a batch", collection] => {
                let (r#type, key) = (Type::PurgePrivateData.into(), "k".into());
                let rec = vec![WriteRecord { r#type, key, collection: (*collection).into(), ..Default::default() }];
                self.ask(Type::WriteBatchState, WriteBatchState { rec }).await?
            }
            ["request", kind] => {
                let kind = Type::from_str_name(kind).unwrap();
                self.ask(kind, GetState::default()).await?
            }
            other => return Err(format!("no function {other:?}")),
        };
        Ok((200, payload))
    }

    /// The payload of another chaincode's answer, or how it ended.
    async fn call_other(&mut self, callee: &str, args: &[&str]) -> Result<Bytes, String> {
        let args = args.iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
        let spec = ChaincodeSpec {
            chaincode_id: Some(ChaincodeId { name: callee.to_owned(), ..Default::default() }),
            input: Some(ChaincodeInput { args, ..Default::default() }),
            ..Default::default()
        };
        let end = ChaincodeMessage::decode(self.ask(Type::InvokeChaincode, spec).await?).unwrap();
        assert_eq!(end.txid, self.start.txid);
        if end.r#type() == Type::Error {
            return Err(format!("the callee said {}", String::from_utf8_lossy(&end.payload)));
        }
        assert_eq!(end.r#type(), Type::Completed);
        let response = Response::decode(end.payload).unwrap();
        match response.status {
            200 => Ok(response.payload),
            status => Err(format!("the callee answered {status}: {}", response.message)),
        }
    }

    async fn get(&mut self, key: &str) -> Result<Bytes, String> {
        self.ask(Type::GetState, GetState { key: key.into(), ..Default::default() }).await
    }

    async fn put(&mut self, key: &str, value: &str) -> Result<Bytes, String> {
        let put = PutState { key: key.into(), value: value.as_bytes().to_vec().into(), ..Default::default() };
        self.ask(Type::PutState, put).await
    }

    async fn get_many(&mut self, keys: &[&str]) -> Result<Bytes, String> {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let answer = self.ask(Type::GetStateMultiple, GetStateMultiple { keys, ..Default::default() }).await?;
        let values = GetStateMultipleResult::decode(answer).unwrap().values;
        Ok(values.join(&b","[..]).into())
    }

    async fn batch(&mut self) -> Result<Bytes, String> {
        let record = |kind: i32, key: &str, value: &'static str| WriteRecord {
            r#type: kind,
            key: key.into(),
            value: value.into(),
            ..Default::default()
        };
        let rec = vec![record(9, "a", "1"), record(9, "b", "2"), record(10, "c", "")];
        self.ask(Type::WriteBatchState, WriteBatchState { rec }).await
    }

    async fn fill(&mut self, count: usize) -> Result<Bytes, String> {
        let record = |index| WriteRecord {
            r#type: 9,
            key: format!("k{index:05}"),
            value: format!("v{index}").into(),
            ..Default::default()
        };
        let rec = (0..count).map(record).collect();
        self.ask(Type::WriteBatchState, WriteBatchState { rec }).await
    }

    /// The sizes of the pages, joined by commas.
    async fn range(&mut self, start: &str, end: &str, pages_max: usize) -> Result<Bytes, String> {
        let range = GetStateByRange { start_key: start.into(), end_key: end.into(), ..Default::default() };
        let mut page = QueryResponse::decode(self.ask(Type::GetStateByRange, range).await?).unwrap();
        let mut sizes = vec![page.results.len().to_string()];
        while page.has_more && sizes.len() < pages_max {
            let next = QueryStateNext { id: page.id.clone() };
            page = QueryResponse::decode(self.ask(Type::QueryStateNext, next).await?).unwrap();
            sizes.push(page.results.len().to_string());
        }
        self.ask(Type::QueryStateClose, QueryStateClose { id: page.id }).await?;
        Ok(sizes.join(",").into())
    }

    /// Count, bookmark and keys of one page.
    async fn page(&mut self, start: &str, end: &str, page_size: i32, bookmark: &str) -> Result<Bytes, String> {
        let metadata = QueryMetadata { page_size, bookmark: bookmark.into() }.encode_to_vec().into();
        let range = GetStateByRange { start_key: start.into(), end_key: end.into(), metadata, ..Default::default() };
        let page = QueryResponse::decode(self.ask(Type::GetStateByRange, range).await?).unwrap();
        assert!(!page.has_more && !page.id.is_empty());
        let metadata = QueryResponseMetadata::decode(page.metadata).unwrap();
        let key = |result: QueryResultBytes| Kv::decode(result.result_bytes).unwrap().key;
        let keys: Vec<String> = page.results.into_iter().map(key).collect();
        Ok(format!("{} {:?} {}", metadata.fetched_records_count, metadata.bookmark, keys.join(",")).into())
    }

    /// All modifications of a key as transaction, value and whether it is a delete, in lines.
    async fn history(&mut self, key: &str) -> Result<Bytes, String> {
        let mut batch = self.ask(Type::GetHistoryForKey, GetHistoryForKey { key: key.into() }).await?;
        let mut lines = Vec::new();
        loop {
            let QueryResponse { results, has_more, id, .. } = QueryResponse::decode(batch).unwrap();
            for result in results {
                let found = KeyModification::decode(result.result_bytes).unwrap();
                assert!(found.timestamp.is_some());
                let value = String::from_utf8_lossy(&found.value).into_owned();
                lines.push(format!("{} {value} {}", found.tx_id, found.is_delete));
            }
            if !has_more {
                return Ok(lines.join("\n").into());
            }
            batch = self.ask(Type::QueryStateNext, QueryStateNext { id }).await?;
        }
    }

    async fn metadata_of(&mut self, key: &str) -> Result<Bytes, String> {
        let get = GetStateMetadata { key: key.into(), ..Default::default() };
        let found = StateMetadataResult::decode(self.ask(Type::GetStateMetadata, get).await?).unwrap();
        let entries = found.entries.into_iter().map(|entry| format!("{}={}", entry.metakey, hex::encode(entry.value)));
        Ok(entries.collect::<Vec<_>>().join(",").into())
    }

    /// Two requests without waiting: the second one gets no answer.
    async fn flood(&mut self) {
        for _ in 0..50 {
            let get = GetState { key: "k".into(), ..Default::default() };
            self.send(Type::GetState, get.encode_to_vec()).await;
        }
        self.inbox.recv().await.unwrap();
        self.send(Type::Completed, Response { status: 200, ..Default::default() }.encode_to_vec()).await;
    }

    async fn ask(&mut self, kind: Type, payload: impl Message) -> Result<Bytes, String> {
        self.send(kind, payload.encode_to_vec()).await;
        let answer = self.inbox.recv().await.unwrap();
        assert_eq!((&answer.txid, &answer.channel_id), (&self.start.txid, &self.start.channel_id));
        match answer.r#type() {
            Type::Response => Ok(answer.payload),
            Type::Error => Err(String::from_utf8(answer.payload.to_vec()).unwrap()),
            other => panic!("{other:?} is no answer"),
        }
    }

    async fn send(&mut self, kind: Type, payload: Vec<u8>) {
        self.send_message(message(kind, payload)).await;
    }

    async fn send_message(&mut self, message: ChaincodeMessage) {
        let ids =
            ChaincodeMessage { txid: self.start.txid.clone(), channel_id: self.start.channel_id.clone(), ..message };
        let _ = self.outgoing.send(Ok(ids)).await;
    }
}

/// Key metadata with this endorsement policy.
fn policy_entry(policy: &str) -> StateMetadata {
    let policy = ripstop_msp::policy_text::parse(policy).unwrap();
    StateMetadata { metakey: "VALIDATION_PARAMETER".into(), value: policy.encode_to_vec().into() }
}

fn message(kind: Type, payload: Vec<u8>) -> ChaincodeMessage {
    ChaincodeMessage { r#type: kind.into(), payload: payload.into(), ..Default::default() }
}
