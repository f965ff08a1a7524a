//! A real orderer: envelopes over TLS in, blocks out, also after a restart.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt, stream};
use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_msp::authority::{AuthorityKind, CertificateAuthority};
use ripstop_msp::{KeyKind, Role, SigningIdentity};
use ripstop_proto::block;
use ripstop_proto::common::{Block, Envelope, HeaderType, Metadata, OrdererBlockMetadata, Status};
use ripstop_proto::etcdraft::BlockMetadata;
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::orderer::seek_position::Type as Position;
use ripstop_proto::orderer::{
    BroadcastResponse, SeekInfo, SeekNewest, SeekOldest, SeekPosition, SeekSpecified, deliver_response,
};
use ripstop_proto::ripstop::v1::ordering_client::OrderingClient;
use ripstop_proto::ripstop::v1::{SubmitItem, SubmitOutcome, SubmitRequest};
use tokio_stream::wrappers::ReceiverStream;

use crate::material::{self, ABSOLUTE_BYTES_MAX, CHANNEL, MESSAGE_COUNT_MAX, Material, Running, payload, signed};
use crate::participation::join;

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends envelopes on one Broadcast stream; all answers until it ends.
async fn broadcast(running: &Running, material: &Material, envelopes: Vec<Envelope>) -> Vec<BroadcastResponse> {
    let mut client = AtomicBroadcastClient::new(running.connect(material).await);
    let answers = client.broadcast(stream::iter(envelopes)).await.unwrap().into_inner();
    let answers: Vec<_> = tokio::time::timeout(PATIENCE, answers.collect()).await.unwrap();
    answers.into_iter().collect::<Result<_, _>>().unwrap()
}

fn transaction(user: &SigningIdentity, content: &str) -> Envelope {
    signed(user, CHANNEL, HeaderType::EndorserTransaction, content.as_bytes())
}

fn position(position: Position) -> Option<SeekPosition> {
    Some(SeekPosition { r#type: Some(position) })
}

fn specified(number: u64) -> Option<SeekPosition> {
    position(Position::Specified(SeekSpecified { number }))
}

/// The blocks of a range, and the status at its end.
async fn deliver(running: &Running, material: &Material, seek: SeekInfo) -> (Vec<Block>, Status) {
    let mut client = AtomicBroadcastClient::new(running.connect(material).await);
    let request = signed(&material.user(), CHANNEL, HeaderType::DeliverSeekInfo, &seek.encode_to_vec());
    let mut answers = client.deliver(stream::iter([request])).await.unwrap().into_inner();
    let mut blocks = Vec::new();
    loop {
        let answer = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap().unwrap().unwrap();
        match answer.r#type.unwrap() {
            deliver_response::Type::Block(block) => blocks.push(block),
            deliver_response::Type::Status(status) => return (blocks, status.try_into().unwrap()),
        }
    }
}

async fn blocks_up_to(running: &Running, material: &Material, number: u64) -> Vec<Block> {
    let start = position(Position::Oldest(SeekOldest {}));
    let seek = SeekInfo { start, stop: specified(number), ..SeekInfo::default() };
    let (blocks, status) = deliver(running, material, seek).await;
    assert_eq!(status, Status::Success);
    blocks
}

/// All blocks up to the one that holds `last`.
async fn blocks_until(running: &Running, material: &Material, last: &Envelope) -> Vec<Block> {
    let last = last.encode_to_vec();
    let mut number = 1;
    loop {
        let blocks = blocks_up_to(running, material, number).await;
        if blocks.last().unwrap().data.as_ref().unwrap().data.iter().any(|entry| *entry == last) {
            return blocks;
        }
        number += 1;
    }
}

fn entries(blocks: &[Block]) -> Vec<Bytes> {
    blocks[1..].iter().flat_map(|block| block.data.clone().unwrap().data).collect()
}

/// What every receiver of blocks checks, and what the metadata has to hold.
fn check_chain(blocks: &[Block], genesis: &Block) {
    assert_eq!(&blocks[0], genesis);
    let config = ChannelConfig::from_block(genesis).unwrap();
    let mut raft_index = 0;
    for pair in blocks.windows(2) {
        let (before, block) = (pair[0].header.as_ref().unwrap(), &pair[1]);
        let header = block.header.as_ref().unwrap();
        let data = &block.data.as_ref().unwrap().data;
        assert_eq!(header.number, before.number + 1);
        assert_eq!(header.previous_hash, block::header_hash(before)[..]);
        assert_eq!(header.data_hash, block::data_hash(data)[..]);
        assert!(data.len() <= MESSAGE_COUNT_MAX as usize);
        data.iter().for_each(|entry| _ = ripstop_proto::envelope::canonical(entry).unwrap());
        config.check_block_signatures(block).unwrap();

        let slots = &block.metadata.as_ref().unwrap().metadata;
        assert_eq!(slots.len(), block::METADATA_SLOTS);
        assert!(slots[1..].iter().all(Bytes::is_empty), "last config 0 is no bytes, the others are a peer's");
        let signatures = Metadata::decode(slots[block::SIGNATURES].clone()).unwrap();
        let value = OrdererBlockMetadata::decode(signatures.value).unwrap();
        assert_eq!(value.last_config.unwrap().index, 0);
        let raft = Metadata::decode(value.consenter_metadata).unwrap();
        let raft = BlockMetadata::decode(raft.value).unwrap();
        assert_eq!((raft.consenter_ids.as_slice(), raft.next_consenter_id), ([1].as_slice(), 2));
        assert!(raft.raft_index > raft_index, "raft index {} after {raft_index}", raft.raft_index);
        raft_index = raft.raft_index;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn envelopes_come_back_as_a_chain_of_signed_blocks_also_after_a_restart() {
    let material = Material::new();
    let (user, genesis) = (material.user(), material.genesis(CHANNEL));
    let running = Running::start(&material).await;
    join(&running, &material, &genesis).await;

    let first: Vec<Envelope> = (0..12).map(|number| transaction(&user, &format!("first {number}"))).collect();
    let answers = broadcast(&running, &material, first.clone()).await;
    assert!(answers.len() == 12 && answers.iter().all(|answer| answer.status() == Status::Success), "{answers:?}");
    let before = blocks_until(&running, &material, &first[11]).await;
    check_chain(&before, &genesis);
    let sent: Vec<Bytes> = first.iter().map(|envelope| envelope.encode_to_vec().into()).collect();
    assert_eq!(entries(&before), sent);
    running.stop().await;

    let running = Running::start(&material).await;
    let second = transaction(&user, "second");
    assert_eq!(broadcast(&running, &material, vec![second.clone()]).await[0].status(), Status::Success);
    let after = blocks_until(&running, &material, &second).await;
    check_chain(&after, &genesis);
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.len(), before.len() + 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_of_an_ordering_stream_is_answered_once_its_block_is_there() {
    let material = Material::new();
    let (user, genesis) = (material.user(), material.genesis(CHANNEL));
    let running = Running::start(&material).await;
    join(&running, &material, &genesis).await;

    let envelopes: Vec<Envelope> = (0..200).map(|number| transaction(&user, &format!("item {number}"))).collect();
    let item = |correlation_id: u64, envelope: &Envelope| SubmitItem {
        correlation_id,
        channel_id: CHANNEL.to_owned(),
        envelope: envelope.encode_to_vec().into(),
    };
    let mut items: Vec<SubmitItem> = (0..).zip(&envelopes).map(|(number, envelope)| item(number, envelope)).collect();
    // The same envelope in another encoding: an unknown field behind it.
    let other = [envelopes[7].encode_to_vec(), vec![0x18, 1]].concat();
    items.push(SubmitItem { correlation_id: 1000, envelope: other.into(), ..items[7].clone() });
    items.push(SubmitItem { correlation_id: 1001, envelope: Bytes::from_static(b"\xff"), ..items[7].clone() });
    items.push(SubmitItem { correlation_id: 1002, channel_id: "other".to_owned(), ..items[7].clone() });
    let elsewhere = signed(&user, "nowhere", HeaderType::EndorserTransaction, b"x");
    items.push(SubmitItem { channel_id: "nowhere".to_owned(), ..item(1003, &elsewhere) });

    let (requests, arriving) = tokio::sync::mpsc::channel(8);
    let mut client = OrderingClient::new(running.connect(&material).await);
    let mut answers = client.submit(ReceiverStream::new(arriving)).await.unwrap().into_inner();
    for chunk in items.chunks(50) {
        requests.send(SubmitRequest { items: chunk.to_vec() }).await.unwrap();
    }
    let mut outcomes: Vec<SubmitOutcome> = Vec::new();
    while outcomes.len() < items.len() {
        let answer = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap().unwrap().unwrap();
        outcomes.extend(answer.outcomes);
    }
    // Asked for nothing but a sign of life.
    requests.send(SubmitRequest::default()).await.unwrap();
    let sign = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(sign.outcomes, []);
    outcomes.sort_by_key(|outcome| outcome.correlation_id);
    let (good, bad) = outcomes.split_at(201);
    assert!(good.iter().all(|outcome| outcome.status() == Status::Success), "{good:?}");
    assert_eq!(
        good.iter().map(|outcome| outcome.correlation_id).collect::<Vec<_>>(),
        (0..200).chain([1000]).collect::<Vec<_>>()
    );
    assert!(bad.iter().all(|outcome| outcome.status() == Status::BadRequest), "{bad:?}");
    assert!(bad[0].info.contains("does not decode"), "{}", bad[0].info);
    assert!(bad[1].info.contains("the item is for channel other"), "{}", bad[1].info);
    assert_eq!(bad[2].info, "channel does not exist");

    // Everything that was answered is there to be read, without waiting.
    let newest = position(Position::Newest(SeekNewest {}));
    let oldest = position(Position::Oldest(SeekOldest {}));
    let (blocks, _) =
        deliver(&running, &material, SeekInfo { start: oldest, stop: newest, ..SeekInfo::default() }).await;
    check_chain(&blocks, &genesis);
    let ordered = entries(&blocks);
    assert_eq!(ordered.len(), 201);
    assert!(envelopes.iter().all(|envelope| ordered.contains(&Bytes::from(envelope.encode_to_vec()))));
    drop(requests);
    assert!(
        answers.message().await.unwrap().is_none(),
        "the stream ends when the sender has ended and all is answered"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_ordered_is_refused_with_fabric_statuses_and_ends_the_stream() {
    let material = Material::new();
    let (user, genesis) = (material.user(), material.genesis(CHANNEL));
    let running = Running::start(&material).await;
    join(&running, &material, &genesis).await;

    let good = transaction(&user, "good");
    let of_kind = |kind| signed(&user, CHANNEL, kind, b"content");
    let transaction_payload = payload(&user, CHANNEL, HeaderType::EndorserTransaction, b"content");
    let large = transaction(&user, &"x".repeat(ABSOLUTE_BYTES_MAX as usize));
    let authority = CertificateAuthority::new("org1.example.com", AuthorityKind::Identity);
    let issued = authority.unwrap().issue_identity("User1", Role::Client, KeyKind::P256).unwrap();
    let stranger = SigningIdentity::from_pem("Org1MSP", issued.certificate_pem, issued.key_pem).unwrap();
    let envelope = |payload: &Bytes, signature: &[u8]| Envelope {
        payload: payload.clone(),
        signature: Bytes::copy_from_slice(signature),
    };
    let cases = [
        (envelope(&Bytes::from_static(b"\xff"), b"s"), Status::BadRequest, "could not determine channel ID: "),
        (envelope(&Bytes::new(), b"s"), Status::BadRequest, "could not determine channel ID: "),
        (signed(&user, "nowhere", HeaderType::EndorserTransaction, b"x"), Status::BadRequest, "channel does not exist"),
        (of_kind(HeaderType::Config), Status::BadRequest, "message is of type that cannot be processed directly"),
        (of_kind(HeaderType::OrdererTransaction), Status::BadRequest, "message is of type that is no longer supported"),
        (of_kind(HeaderType::ConfigUpdate), Status::NotImplemented, "CONFIG_UPDATE: "),
        (large, Status::BadRequest, "exceeds maximum allowed 65536 bytes"),
        (envelope(&transaction_payload, b"no signature"), Status::Forbidden, ": permission denied"),
        (envelope(&transaction_payload, b""), Status::Forbidden, ": permission denied"),
        (transaction(&stranger, "x"), Status::Forbidden, ": permission denied"),
    ];
    for (refused, status, info) in cases {
        let answers = broadcast(&running, &material, vec![good.clone(), refused, good.clone()]).await;
        assert_eq!(answers.len(), 2, "the stream ends after {info}");
        assert_eq!(answers[0].status(), Status::Success);
        assert_eq!(answers[1].status(), status, "{}", answers[1].info);
        assert!(answers[1].info.contains(info), "'{}' does not say '{info}'", answers[1].info);
    }
    // Of each stream, one envelope was taken.
    let last = transaction(&user, "last");
    broadcast(&running, &material, vec![last.clone()]).await;
    let blocks = blocks_until(&running, &material, &last).await;
    assert_eq!(entries(&blocks).len(), 11);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_identity_is_refused_before_its_signature_is_looked_at() {
    let material = Material::new();
    let running = Running::start(&material).await;
    join(&running, &material, &material.genesis(CHANNEL)).await;
    let authority = CertificateAuthority::load(material.peers.authority(AuthorityKind::Identity)).unwrap();
    let now = SystemTime::now();
    let validity = now - Duration::from_secs(120)..now - Duration::from_secs(60);
    let issued = authority.issue_identity_for("User2", Role::Client, KeyKind::P256, validity).unwrap();
    let expired = SigningIdentity::from_pem("Org1MSP", issued.certificate_pem, issued.key_pem).unwrap();
    let Envelope { payload, .. } = transaction(&expired, "x");
    for signature in [expired.sign(&payload).unwrap(), b"no signature".to_vec()] {
        let envelope = Envelope { payload: payload.clone(), signature: signature.into() };
        let answers = broadcast(&running, &material, vec![envelope]).await;
        assert_eq!(
            (answers[0].status(), answers[0].info.as_str()),
            (Status::BadRequest, "broadcast client identity expired")
        );
    }
    let oldest = position(Position::Oldest(SeekOldest {}));
    let seek = SeekInfo { start: oldest, stop: oldest, ..SeekInfo::default() }.encode_to_vec();
    let request = signed(&expired, CHANNEL, HeaderType::DeliverSeekInfo, &seek);
    let mut client = AtomicBroadcastClient::new(running.connect(&material).await);
    let answers: Vec<_> = client.deliver(stream::iter([request])).await.unwrap().into_inner().collect().await;
    let [Ok(answer)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(answer.r#type, Some(deliver_response::Type::Status(Status::Forbidden.into())));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_maintenance_nothing_normal_is_ordered_and_blocks_go_to_orderers_only() {
    let material = Material::new();
    let running = Running::start(&material).await;
    let mut genesis = material.genesis(CHANNEL);
    material::set_maintenance(&mut genesis);
    join(&running, &material, &genesis).await;
    let answers = broadcast(&running, &material, vec![transaction(&material.user(), "x")]).await;
    let expected = (Status::ServiceUnavailable, "normal transactions are rejected: maintenance mode");
    assert_eq!((answers[0].status(), answers[0].info.as_str()), expected);
    let newest = position(Position::Newest(SeekNewest {}));
    let seek = SeekInfo { start: newest, stop: newest, ..SeekInfo::default() };
    assert_eq!(deliver(&running, &material, seek).await, (vec![], Status::Forbidden));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_cutting_by_timeout_a_lone_envelope_waits_and_a_full_batch_does_not() {
    let material = Material::new();
    let user = material.user();
    let running = Running::start_with(&material, r#"cutting = "timeout""#).await;
    let mut profile = material.profile(CHANNEL);
    profile.batch_timeout = Duration::from_secs(3600);
    let genesis = ripstop_channel::genesis::block(&profile, [7; 24], SystemTime::now()).unwrap();
    join(&running, &material, &genesis).await;
    let envelopes: Vec<Envelope> = (0..6).map(|number| transaction(&user, &format!("{number}"))).collect();
    let answers = broadcast(&running, &material, envelopes.clone()).await;
    assert_eq!(answers.len(), 6);
    let blocks = blocks_up_to(&running, &material, 1).await;
    assert_eq!(entries(&blocks).len(), MESSAGE_COUNT_MAX as usize);
    let beyond = SeekInfo { start: specified(2), stop: specified(2), behavior: 1, ..SeekInfo::default() };
    let (none, status) = deliver(&running, &material, beyond).await;
    assert_eq!((none.len(), status), (0, Status::NotFound), "the sixth waits for the timeout");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_go_to_readers_only() {
    let material = Material::new();
    let running = Running::start(&material).await;
    join(&running, &material, &material.genesis(CHANNEL)).await;
    let authority = CertificateAuthority::new("evil.example.com", AuthorityKind::Identity);
    let issued = authority.unwrap().issue_identity("User1", Role::Client, KeyKind::P256).unwrap();
    let stranger = SigningIdentity::from_pem("Org1MSP", issued.certificate_pem, issued.key_pem).unwrap();
    let oldest = position(Position::Oldest(SeekOldest {}));
    let seek = SeekInfo { start: oldest, stop: oldest, ..SeekInfo::default() }.encode_to_vec();
    let mut client = AtomicBroadcastClient::new(running.connect(&material).await);
    for (channel_id, expected) in [(CHANNEL, Status::Forbidden), ("nowhere", Status::NotFound)] {
        let request = signed(&stranger, channel_id, HeaderType::DeliverSeekInfo, &seek);
        let answers: Vec<_> = client.deliver(stream::iter([request])).await.unwrap().into_inner().collect().await;
        let [Ok(answer)] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!(answer.r#type, Some(deliver_response::Type::Status(expected.into())));
    }
    running.stop().await;
}
