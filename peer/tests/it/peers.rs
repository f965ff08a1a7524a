//! Whole peers as far as endorsing and committing goes: real ledgers, real chaincode
//! hosts, blocks that go through the real committer. Only orderers are missing: tests
//! hand the blocks over themselves.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::Options;
use ripstop_msp::{Msp, SigningIdentity};
use ripstop_peer::chaincode::host::{Host, HostSettings};
use ripstop_peer::chaincode::installed::InstalledPackages;
use ripstop_peer::channel::{Channel, Channels};
use ripstop_peer::committer;
use ripstop_peer::deliver_client::Tip;
use ripstop_peer::endorser::{Endorsement, Endorser};
use ripstop_proto::block::{TRANSACTIONS_FILTER, metadata_slot};
use ripstop_proto::common::{Block, ChannelHeader, Header, HeaderType, SignatureHeader};
use ripstop_proto::lifecycle::chaincode_source::{Local, Type as SourceType};
use ripstop_proto::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ChaincodeSource, CommitChaincodeDefinitionArgs, InstallChaincodeArgs,
    InstallChaincodeResult,
};
use ripstop_proto::protos::{
    ChaincodeHeaderExtension, ChaincodeId, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload,
    ChaincodeSpec, Proposal, ProposalResponse, SignedProposal, TxValidationCode,
};
use ripstop_proto::{envelope, transaction, tx_id};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::blocks;
use crate::contract_server::{self, ContractServer};
use crate::organizations::{CHANNEL, Organizations, PeerOrganization};

/// A peer of one organization that has joined the channel.
pub(crate) struct TestPeer {
    pub(crate) endorser: Arc<Endorser>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) channel: Arc<Channel>,
    /// Admin of the peer's organization.
    pub(crate) admin: Arc<SigningIdentity>,
    delivered_blocks: mpsc::Sender<Block>,
    stop: CancellationToken,
    _folder: Arc<TempDir>,
}

impl TestPeer {
    pub(crate) fn new(organizations: &Organizations, organization: &PeerOrganization, settings: HostSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let msp_id = organization.msp.id().to_owned();
        let msp_folder = organization.peer_folder.msp();
        let channels = Channels::open(folder.path().join("channels"), Options::in_memory(), Box::new(|_| {}));
        let channels = Arc::new(channels.unwrap());
        let channel = channels.join(organizations.genesis.clone()).unwrap();
        let installed = Arc::new(InstalledPackages::open(folder.path().join("packages")).unwrap());
        let endorser = Arc::new(Endorser::new(
            Arc::clone(&channels),
            Arc::new(Msp::from_folder(&msp_id, &msp_folder).unwrap()),
            Arc::new(SigningIdentity::from_msp_folder(&msp_id, &msp_folder).unwrap()),
            Arc::new(Host::new(installed, settings)),
            Duration::from_secs(900),
        ));
        let users = organization.peer_folder.root.ancestors().nth(2).unwrap().join("users");
        let admin = std::fs::read_dir(users)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("Admin@"));
        let admin = Arc::new(SigningIdentity::from_msp_folder(&msp_id, admin.unwrap().join("msp")).unwrap());
        let (delivered_blocks, blocks) = mpsc::channel(1);
        let stop = CancellationToken::new();
        tokio::spawn(committer::run(channel.clone(), msp_id, blocks, stop.clone()));
        Self { endorser, channels, channel, admin, delivered_blocks, stop, _folder: Arc::new(folder) }
    }

    /// The same peer in another channel.
    fn join(&self, genesis: Block) -> Self {
        let channel = self.channels.join(genesis).unwrap();
        let (delivered_blocks, blocks) = mpsc::channel(1);
        let stop = CancellationToken::new();
        tokio::spawn(committer::run(channel.clone(), self.admin.msp_id().to_owned(), blocks, stop.clone()));
        Self {
            endorser: self.endorser.clone(),
            channels: self.channels.clone(),
            channel,
            admin: self.admin.clone(),
            delivered_blocks,
            stop,
            _folder: self._folder.clone(),
        }
    }

    /// The answer of a proposal that the peer accepts.
    pub(crate) async fn propose(&self, call: &Call, creator: &SigningIdentity) -> ProposalResponse {
        let Endorsement { response, error } = self.endorser.process(call.signed(creator)).await;
        assert!(error.is_none(), "{error:?}");
        response.unwrap()
    }

    /// The answer's status and message, or payload where there is no message.
    pub(crate) async fn ask(&self, call: &Call, creator: &SigningIdentity) -> (i32, String) {
        let response = self.propose(call, creator).await.response.unwrap();
        let payload = String::from_utf8_lossy(&response.payload).into_owned();
        (response.status, if response.message.is_empty() { payload } else { response.message })
    }

    /// As [`TestPeer::propose`], for calls that are made on the way.
    pub(crate) async fn propose_owned(&self, call: Call, creator: &SigningIdentity) -> ProposalResponse {
        self.propose(&call, creator).await
    }

    /// As [`TestPeer::ask`], for calls that are made on the way.
    pub(crate) async fn ask_owned(&self, call: Call, creator: &SigningIdentity) -> (i32, String) {
        self.ask(&call, creator).await
    }

    /// The decoded answer of a `_lifecycle` function.
    pub(crate) async fn lifecycle<M: Message + Default>(&self, function: &str, args: impl Message) -> M {
        let response = self.propose(&Call::lifecycle(function, args), &self.admin).await.response.unwrap();
        assert_eq!(response.status, 200, "{}", response.message);
        M::decode(response.payload).unwrap()
    }

    /// Commits one block and gives its codes.
    pub(crate) async fn commit(&self, entries: Vec<Bytes>) -> Vec<TxValidationCode> {
        let ledger = self.channel.ledger();
        let mut heights = ledger.heights();
        let block = blocks::after(&Tip::of(ledger).unwrap(), entries);
        let number = block.header.as_ref().unwrap().number;
        self.delivered_blocks.send(block).await.unwrap();
        heights.wait_for(|height| *height > number).await.unwrap();
        let block = ledger.block(number).unwrap().unwrap();
        let codes = metadata_slot(&block, TRANSACTIONS_FILTER);
        codes.iter().map(|code| TxValidationCode::try_from(i32::from(*code)).unwrap()).collect()
    }

    pub(crate) async fn install(&self, package: &[u8]) -> String {
        let args = InstallChaincodeArgs { chaincode_install_package: package.to_vec().into() };
        let call = Call { channel_id: String::new(), ..Call::lifecycle("InstallChaincode", args) };
        let response = self.propose(&call, &self.admin).await.response.unwrap();
        assert_eq!(response.status, 200, "{}", response.message);
        InstallChaincodeResult::decode(response.payload).unwrap().package_id
    }
}

impl Drop for TestPeer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A proposal before it is signed. Two calls are never the same transaction.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) channel_id: String,
    pub(crate) chaincode: String,
    pub(crate) input: ChaincodeInput,
    pub(crate) nonce: Vec<u8>,
    pub(crate) timestamp: SystemTime,
    pub(crate) transient: Vec<(&'static str, &'static str)>,
}

impl Call {
    pub(crate) fn new(chaincode: &str, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
        Self::with_args(chaincode, args)
    }

    pub(crate) fn lifecycle(function: &str, args: impl Message) -> Self {
        Self::with_args("_lifecycle", vec![function.to_owned().into(), args.encode_to_vec().into()])
    }

    fn with_args(chaincode: &str, args: Vec<Bytes>) -> Self {
        Self {
            channel_id: CHANNEL.to_owned(),
            chaincode: chaincode.to_owned(),
            input: ChaincodeInput { args, ..Default::default() },
            nonce: rand::random::<[u8; 24]>().to_vec(),
            timestamp: SystemTime::now(),
            transient: Vec::new(),
        }
    }

    pub(crate) fn on(self, channel_id: &str) -> Self {
        Self { channel_id: channel_id.to_owned(), ..self }
    }

    pub(crate) fn init(mut self) -> Self {
        self.input.is_init = true;
        self
    }

    pub(crate) fn tx_id(&self, creator: &SigningIdentity) -> String {
        tx_id::compute(&self.nonce, creator.serialized())
    }

    pub(crate) fn proposal(&self, creator: &SigningIdentity) -> Proposal {
        let id = ChaincodeId { name: self.chaincode.clone(), ..Default::default() };
        let channel_header = ChannelHeader {
            r#type: HeaderType::EndorserTransaction.into(),
            channel_id: self.channel_id.clone(),
            tx_id: self.tx_id(creator),
            timestamp: Some(self.timestamp.into()),
            extension: ChaincodeHeaderExtension { chaincode_id: Some(id.clone()) }.encode_to_vec().into(),
            ..Default::default()
        };
        let signature_header =
            SignatureHeader { creator: creator.serialized().clone(), nonce: self.nonce.clone().into() };
        let header = Header {
            channel_header: channel_header.encode_to_vec().into(),
            signature_header: signature_header.encode_to_vec().into(),
        };
        let spec = ChaincodeSpec { chaincode_id: Some(id), input: Some(self.input.clone()), ..Default::default() };
        let input = ChaincodeInvocationSpec { chaincode_spec: Some(spec) }.encode_to_vec().into();
        let transient_map = self.transient.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let payload = ChaincodeProposalPayload { input, transient_map };
        Proposal {
            header: header.encode_to_vec().into(),
            payload: payload.encode_to_vec().into(),
            ..Default::default()
        }
    }

    pub(crate) fn signed(&self, creator: &SigningIdentity) -> SignedProposal {
        let proposal_bytes: Bytes = self.proposal(creator).encode_to_vec().into();
        let signature = creator.sign(&proposal_bytes).unwrap().into();
        SignedProposal { proposal_bytes, signature }
    }

    /// The envelope to be ordered, from equal answers.
    pub(crate) fn envelope(&self, creator: &SigningIdentity, answers: &[ProposalResponse]) -> Bytes {
        let endorsements = answers.iter().map(|answer| answer.endorsement.clone().unwrap()).collect();
        let unsigned =
            transaction::assemble(&self.proposal(creator), answers[0].payload.clone(), endorsements).unwrap();
        let signature = creator.sign(&unsigned.payload).unwrap();
        envelope::signed(unsigned.payload, signature.into()).encode_to_vec().into()
    }
}

/// Two organizations with a peer each, on one channel.
pub(crate) struct TestNetwork {
    pub(crate) organizations: Organizations,
    pub(crate) peers: [TestPeer; 2],
}

impl TestNetwork {
    pub(crate) fn new() -> Self {
        Self::with_settings(HostSettings::default())
    }

    pub(crate) fn with_settings(settings: HostSettings) -> Self {
        Self::of(Organizations::new(), settings)
    }

    pub(crate) fn of(organizations: Organizations, settings: HostSettings) -> Self {
        let peers = [&organizations.org1, &organizations.org2]
            .map(|organization| TestPeer::new(&organizations, organization, settings.clone()));
        Self { organizations, peers }
    }

    /// The same peers in another channel, on which chaincode is deployed from now on.
    pub(crate) fn join(self, genesis: Block) -> Self {
        let peers = self.peers.each_ref().map(|peer| peer.join(genesis.clone()));
        Self { peers, ..self }
    }

    pub(crate) fn client(&self) -> &SigningIdentity {
        &self.organizations.org1.client
    }

    /// Commits one transaction on both peers; both must come to the same code.
    pub(crate) async fn commit(&self, envelope: Bytes) -> TxValidationCode {
        let [one, two] = &self.peers;
        let (one, two) = (one.commit(vec![envelope.clone()]).await, two.commit(vec![envelope]).await);
        assert_eq!(one, two);
        one[0]
    }

    /// Endorses on the given peers, which must agree byte for byte, and commits.
    pub(crate) async fn submit(&self, call: &Call, creator: &SigningIdentity, endorsers: &[&TestPeer]) {
        let mut answers = Vec::new();
        for endorser in endorsers {
            let answer = endorser.propose(call, creator).await;
            assert!(answer.endorsement.is_some(), "{:?}", answer.response);
            answers.push(answer);
        }
        assert!(answers.iter().all(|answer| answer.payload == answers[0].payload));
        assert_eq!(self.commit(call.envelope(creator, &answers)).await, TxValidationCode::Valid);
    }

    /// Installs, approves and commits a package as chaincode `name`, version 1.0; gives
    /// the package's id.
    pub(crate) async fn deploy(&self, name: &str, package: &[u8], init_required: bool) -> String {
        let mut package_id = String::new();
        for peer in &self.peers {
            package_id = peer.install(package).await;
            let approve =
                Call::lifecycle("ApproveChaincodeDefinitionForMyOrg", approval(name, &package_id, init_required));
            let approve = approve.on(peer.channel.id());
            self.submit(&approve, &peer.admin, &[peer]).await;
        }
        let commit = CommitChaincodeDefinitionArgs {
            sequence: 1,
            name: name.to_owned(),
            version: "1.0".to_owned(),
            init_required,
            ..Default::default()
        };
        let [one, two] = &self.peers;
        let commit = Call::lifecycle("CommitChaincodeDefinition", commit).on(one.channel.id());
        self.submit(&commit, &one.admin, &[one, two]).await;
        package_id
    }

    /// Deploys `name`, run by a server that is started for it.
    pub(crate) async fn serve_contract(&self, name: &str, init_required: bool) -> ContractServer {
        let server = ContractServer::start(None).await;
        let connection = format!(r#"{{"address":"{}"}}"#, server.address);
        let package = contract_server::package(&format!("{name}_1.0"), &connection);
        server.register_as(&self.deploy(name, &package, init_required).await);
        server
    }

    /// Deploys `basic`, run by a server that is started for it.
    pub(crate) async fn with_contract(self) -> (Self, ContractServer) {
        let server = self.serve_contract("basic", false).await;
        (self, server)
    }
}

pub(crate) fn approval(name: &str, package_id: &str, init_required: bool) -> ApproveChaincodeDefinitionForMyOrgArgs {
    let local = SourceType::LocalPackage(Local { package_id: package_id.to_owned() });
    ApproveChaincodeDefinitionForMyOrgArgs {
        sequence: 1,
        name: name.to_owned(),
        version: "1.0".to_owned(),
        init_required,
        source: Some(ChaincodeSource { r#type: Some(local) }),
        ..Default::default()
    }
}
