//! Who is told why a transaction is invalid, and what.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::Options;
use ripstop_msp::SigningIdentity;
use ripstop_peer::channel::{Channel, Channels};
use ripstop_peer::explanations::Explanations;
use ripstop_proto::kvrwset::{KvRead, Version};
use ripstop_proto::protos::TxValidationCode as Code;
use ripstop_proto::ripstop::v1::explanation::Reason;
use ripstop_proto::ripstop::v1::explanations_server::Explanations as _;
use ripstop_proto::ripstop::v1::{ExplainRequest, ExplainResponse, SignedExplainRequest};
use tonic::{Request, Status};

use crate::blocks;
use crate::organizations::{CHANNEL, Organizations};
use crate::transactions::{Draft, writes};

/// The service over one channel whose block 1 holds a winner and a loser.
struct Setting {
    organizations: Organizations,
    service: Explanations,
    winner: String,
    loser: String,
    _folder: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let (organizations, folder) = (Organizations::new(), tempfile::tempdir().unwrap());
        let start = Box::new(|_: &Arc<Channel>| ());
        let channels = Arc::new(Channels::open(folder.path().to_owned(), Options::in_memory(), start).unwrap());
        let channel = channels.join(organizations.genesis.clone()).unwrap();
        let mut reading = writes("basic", &[("k", "w")]);
        reading.public.reads.push(KvRead { key: "k".into(), version: None });
        let draft = |nonce, set| Draft::new(&organizations.org1.client, &[], nonce).sets([set]);
        let drafts = [draft(1, writes("basic", &[("k", "v")])), draft(2, reading)];
        let [winner, loser] = drafts.each_ref().map(Draft::tx_id);
        let committed = blocks::commit_unjudged(channel.ledger(), drafts.iter().map(Draft::entry).collect());
        assert_eq!(committed.codes, [Code::Valid, Code::MvccReadConflict]);
        Self { service: Explanations::new(channels), organizations, winner, loser, _folder: folder }
    }

    fn request(&self, transaction_id: &str) -> ExplainRequest {
        ExplainRequest {
            channel_id: CHANNEL.to_owned(),
            transaction_id: transaction_id.to_owned(),
            identity: self.organizations.org1.client.serialized().clone(),
        }
    }

    async fn ask(&self, request: &ExplainRequest, signer: &SigningIdentity) -> Result<ExplainResponse, Status> {
        let request: Bytes = request.encode_to_vec().into();
        let signature = signer.sign(&request).unwrap().into();
        self.service.explain(Request::new(SignedExplainRequest { request, signature })).await.map(|it| it.into_inner())
    }

    async fn explain(&self, transaction_id: &str) -> Result<ExplainResponse, Status> {
        self.ask(&self.request(transaction_id), &self.organizations.org1.client).await
    }
}

#[tokio::test]
async fn a_loser_is_told_what_it_lost_by() {
    let setting = Setting::new();
    let response = setting.explain(&setting.loser).await.unwrap();
    assert_eq!((response.block_number, response.tx_index, response.code()), (1, 1, Code::MvccReadConflict));
    assert_eq!(response.explained_from, 0);
    let explanation = response.explanation.unwrap();
    assert_eq!((explanation.tx_index, explanation.code()), (1, Code::MvccReadConflict));
    let Some(Reason::Conflict(conflict)) = explanation.reason else { panic!("{explanation:?}") };
    assert_eq!((conflict.namespace.as_str(), conflict.key.as_str()), ("basic", "k"));
    assert_eq!(conflict.read_version, None);
    assert_eq!(conflict.found_version, Some(Version { block_num: 1, tx_num: 0 }));
    assert_eq!(conflict.winner_tx_id, setting.winner);
    assert!(conflict.within_block);
}

#[tokio::test]
async fn a_valid_transaction_has_its_place_and_no_explanation() {
    let setting = Setting::new();
    let response = setting.explain(&setting.winner).await.unwrap();
    assert_eq!((response.block_number, response.tx_index, response.code()), (1, 0, Code::Valid));
    assert_eq!(response.explanation, None);
}

#[tokio::test]
async fn a_transaction_that_is_in_no_block_is_not_found() {
    let setting = Setting::new();
    let status = setting.explain("0123").await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    assert_eq!(status.message(), "no block of channel mychannel below height 2 holds transaction 0123");
}

#[tokio::test]
async fn who_may_not_see_the_commit_status_is_refused() {
    let setting = Setting::new();
    let request = setting.request(&setting.loser);
    let client = &setting.organizations.org1.client;
    let strangers = Organizations::new();
    let foreign = ExplainRequest { identity: strangers.org1.client.serialized().clone(), ..request.clone() };
    let elsewhere = ExplainRequest { channel_id: "elsewhere".into(), ..request.clone() };
    let denied = [
        ("somebody else's signature", &request, &setting.organizations.org2.client),
        ("a foreign identity", &foreign, &strangers.org1.client),
        ("an unknown channel", &elsewhere, client),
    ];
    for (name, request, signer) in denied {
        let status = setting.ask(request, signer).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::PermissionDenied, "{name}: {status}");
        assert!(status.message().contains("gateway/CommitStatus"), "{name}: {status}");
    }
    let nobody = ExplainRequest { identity: Bytes::new(), ..request.clone() };
    let nowhere = ExplainRequest { channel_id: String::new(), ..request.clone() };
    let nothing = ExplainRequest { transaction_id: String::new(), ..request.clone() };
    for (request, text) in [
        (nobody, "no identity provided"),
        (nowhere, "no channel ID provided"),
        (nothing, "transaction ID should not be empty"),
    ] {
        let status = setting.ask(&request, client).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::InvalidArgument, text));
    }
    let garbage = SignedExplainRequest { request: Bytes::from_static(b"\xff\xff"), signature: Bytes::new() };
    let status = setting.service.explain(Request::new(garbage)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}
