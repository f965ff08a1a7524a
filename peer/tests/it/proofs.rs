//! Who is shown proofs and nodes of the state trie, and what they say.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::store::{Batch, Stores};
use ripstop_ledger::{Ledger, Options};
use ripstop_msp::SigningIdentity;
use ripstop_peer::channel::{Channel, Channels};
use ripstop_peer::proofs::Proofs;
use ripstop_proto::block;
use ripstop_proto::block_roots::signing_input;
use ripstop_proto::kvrwset::Version;
use ripstop_proto::ripstop::v1::branch_response::Node;
use ripstop_proto::ripstop::v1::proofs_server::Proofs as _;
use ripstop_proto::ripstop::v1::{
    BlockRoots, BranchRequest, BranchResponse, ProveRequest, ProveResponse, SignedBranchRequest, SignedProveRequest,
};
use tonic::{Code, Request, Status};

use crate::blocks;
use crate::organizations::{CHANNEL, Organizations};
use crate::transactions::{Draft, writes};

/// The service over one channel; each block writes the key `k` and one of its own.
struct Setting {
    organizations: Organizations,
    channel: Arc<Channel>,
    service: Proofs,
    folder: tempfile::TempDir,
}

impl Setting {
    fn new(options: Options) -> Self {
        let organizations = Organizations::new();
        Self::open(organizations, tempfile::tempdir().unwrap(), options)
    }

    /// Opens the channel in the folder, or joins it.
    fn open(organizations: Organizations, folder: tempfile::TempDir, options: Options) -> Self {
        let channels = Arc::new(Channels::open(folder.path().to_owned(), options, Box::new(|_| ())).unwrap());
        let channel = channels.get(CHANNEL).unwrap_or_else(|| channels.join(organizations.genesis.clone()).unwrap());
        let peer = SigningIdentity::from_msp_folder("Org1MSP", organizations.org1.peer_folder.msp()).unwrap();
        Self { service: Proofs::new(channels, Arc::new(peer)), organizations, channel, folder }
    }

    /// Commits the block of this number.
    fn commit(&self, number: u8) {
        let (value, own) = (format!("value {number}"), format!("own {number}"));
        let draft = Draft::new(&self.organizations.org1.client, &[], number.into());
        let draft = draft.sets([writes("basic", &[("k", &value), (&own, "1")])]);
        blocks::commit_unjudged(self.channel.ledger(), vec![draft.entry()]);
    }

    fn request(&self, key: &str, height: Option<u64>) -> ProveRequest {
        ProveRequest {
            channel_id: CHANNEL.to_owned(),
            namespace: "basic".to_owned(),
            key: key.to_owned(),
            height,
            identity: self.organizations.org2.client.serialized().clone(),
        }
    }

    async fn ask(&self, request: &ProveRequest, signer: &SigningIdentity) -> Result<ProveResponse, Status> {
        let request: Bytes = request.encode_to_vec().into();
        let signature = signer.sign(&request).unwrap().into();
        self.service.prove(Request::new(SignedProveRequest { request, signature })).await.map(|it| it.into_inner())
    }

    async fn prove(&self, key: &str, height: Option<u64>) -> Result<ProveResponse, Status> {
        self.ask(&self.request(key, height), &self.organizations.org2.client).await
    }

    async fn branch(&self, block_number: u64, prefix: &[u8]) -> Result<BranchResponse, Status> {
        let client = &self.organizations.org2.client;
        let request = BranchRequest {
            channel_id: CHANNEL.to_owned(),
            block_number,
            prefix: prefix.to_vec().into(),
            identity: client.serialized().clone(),
        };
        let request: Bytes = request.encode_to_vec().into();
        let signature = client.sign(&request).unwrap().into();
        self.service.branch(Request::new(SignedBranchRequest { request, signature })).await.map(|it| it.into_inner())
    }
}

fn roots_of(ledger: &Ledger, number: u64) -> BlockRoots {
    block::block_roots(&ledger.block(number).unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn a_key_is_proved_now_and_earlier_with_roots_that_the_peer_signed() {
    let setting = Setting::new(Options::in_memory());
    (1..=3).for_each(|number| setting.commit(number));
    for (height, number) in [(None, 3), (Some(4), 3), (Some(2), 1)] {
        let proved = setting.prove("k", height).await.unwrap();
        let content = proved.content.unwrap();
        assert_eq!(content.version, Some(Version { block_num: number, tx_num: 0 }));
        assert_eq!((&content.value[..], content.metadata), (format!("value {number}").as_bytes(), None));
        assert!(!proved.nodes.is_empty());
        let signed = proved.roots.unwrap();
        let roots = BlockRoots::decode(signed.block_roots.clone()).unwrap();
        assert_eq!(roots, roots_of(setting.channel.ledger(), number));
        assert_eq!(signed.identity, setting.organizations.org1.peer.serialized());
        let config = setting.channel.config();
        let peer = config.msps().identity(&signed.identity).unwrap();
        peer.verify(&signing_input(&signed), &signed.signature).unwrap();
    }
    let unknown = setting.prove("never", None).await.unwrap();
    assert_eq!(unknown.content, None);
    assert!(!unknown.nodes.is_empty());
}

#[tokio::test]
async fn a_height_that_is_too_old_or_not_there_yet_is_told_apart() {
    let setting = Setting::new(Options::in_memory());
    (1..=132).for_each(|number| setting.commit(number));
    let early = setting.prove("k", Some(134)).await.unwrap_err();
    assert_eq!(
        (early.code(), early.message()),
        (Code::NotFound, "height 134 cannot be proved: the ledger has 133 blocks")
    );
    let late = setting.prove("k", Some(4)).await.unwrap_err();
    assert_eq!(late.code(), Code::OutOfRange, "{late}");
    assert_eq!(late.message(), "the state root of block 3 is not kept: blocks 4 to 132 can be proved");
    setting.prove("k", Some(5)).await.unwrap();
    assert_eq!(setting.branch(133, &[]).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(setting.branch(3, &[]).await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn the_nodes_below_each_other_lead_to_every_leaf() {
    let setting = Setting::new(Options::in_memory());
    (1..=20).for_each(|number| setting.commit(number));
    let (mut prefixes, mut leaves) = (vec![Vec::new()], Vec::new());
    while let Some(prefix) = prefixes.pop() {
        match setting.branch(20, &prefix).await.unwrap().node {
            Some(Node::Leaf(leaf)) => leaves.push(leaf.path),
            Some(Node::Branch(branch)) => {
                assert!(branch.path.starts_with(&prefix) && branch.children.len() > 1);
                prefixes.extend(branch.children.iter().map(|it| [&branch.path[..], &[it.nibble as u8]].concat()));
            }
            None => panic!("nothing at {prefix:?}, which a branch has"),
        }
    }
    leaves.sort();
    leaves.dedup();
    let genesis = setting.channel.ledger().state().range("", "", "").count();
    assert_eq!(leaves.len(), genesis + 21);
    assert_eq!(setting.branch(20, &[16]).await.unwrap().node, None);
}

#[tokio::test]
async fn only_readers_of_the_channel_are_answered() {
    let setting = Setting::new(Options::in_memory());
    let request = setting.request("k", None);
    let client = &setting.organizations.org2.client;
    let strangers = Organizations::new();
    let foreign = ProveRequest { identity: strangers.org1.client.serialized().clone(), ..request.clone() };
    let elsewhere = ProveRequest { channel_id: "elsewhere".into(), ..request.clone() };
    for (name, request, signer) in [
        ("somebody else's signature", &request, &setting.organizations.org1.client),
        ("a foreign identity", &foreign, &strangers.org1.client),
        ("an unknown channel", &elsewhere, client),
    ] {
        let status = setting.ask(request, signer).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{name}: {status}");
    }
    let nobody = ProveRequest { identity: Bytes::new(), ..request.clone() };
    assert_eq!(setting.ask(&nobody, client).await.unwrap_err().code(), Code::InvalidArgument);
    let private = ProveRequest { namespace: "basic$$psecrets".into(), ..request.clone() };
    assert_eq!(setting.ask(&private, client).await.unwrap_err().code(), Code::InvalidArgument);
    let garbage = SignedBranchRequest { request: Bytes::from_static(b"\xff\xff"), signature: Bytes::new() };
    assert_eq!(setting.service.branch(Request::new(garbage)).await.unwrap_err().code(), Code::InvalidArgument);
}

/// Changes the last byte of a key's value in the state of a closed ledger.
fn alter(folder: &Path, key: &str) {
    let options = Options::default();
    let store = Stores::open(options.stores.as_ref(), &folder.join("derived")).unwrap();
    let key = format!("dbasic\0{key}").into_bytes();
    let mut value = store.snapshot().get(&key).unwrap().unwrap().to_vec();
    *value.last_mut().unwrap() ^= 1;
    let mut batch = Batch::default();
    batch.put(key, value);
    store.write(&batch, true).unwrap();
}

#[tokio::test]
async fn an_altered_value_is_refused_in_the_ledgers_words() {
    let setting = Setting::new(Options::default());
    setting.commit(1);
    let Setting { organizations, channel, service, folder } = setting;
    // The last to hold the ledger, so it is closed.
    drop((channel, service));
    alter(&folder.path().join(CHANNEL), "k");
    let setting = Setting::open(organizations, folder, Options::default());
    let refused = setting.prove("k", None).await.unwrap_err();
    assert_eq!(refused.code(), Code::DataLoss, "{refused}");
    let said = setting.channel.ledger().prove("basic", "k", None).unwrap_err().to_string();
    assert_eq!(refused.message(), said);
    assert!(said.contains("key \"k\" of \"basic\" at height 2 is not proved"), "{said}");
    setting.prove("own 1", None).await.unwrap();
}
