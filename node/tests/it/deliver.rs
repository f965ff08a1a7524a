//! Deliver's streams over a chain in memory.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, UNIX_EPOCH};

use futures::{Stream, StreamExt, stream};
use prost::Message;
use ripstop_node::CancellationToken;
use ripstop_node::deliver::{self, Deliver, OrdererBlocks, PeerBlocks, Terms};
use ripstop_proto::common::{Block, ChannelHeader, Envelope, Payload, Status};
use ripstop_proto::orderer::deliver_response::Type;
use ripstop_proto::orderer::seek_info::{SeekBehavior, SeekContentType, SeekErrorResponse};
use ripstop_proto::orderer::{DeliverResponse, SeekInfo};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::chain::{
    MemoryChain, MemoryChannels, NOW, at, channel_header, clock, envelope, newest, next_commit, oldest, seek,
    seek_info, timestamp,
};

type Answers = Pin<Box<dyn Stream<Item = Result<DeliverResponse, tonic::Status>> + Send>>;

fn service(chain: &Arc<MemoryChain>) -> Deliver<MemoryChannels, OrdererBlocks> {
    let channels = MemoryChannels::one(chain);
    let mut deliver = Deliver::new(channels, OrdererBlocks, Terms::default(), CancellationToken::new());
    deliver.clock = Arc::new(clock);
    deliver
}

fn answers(service: Deliver<MemoryChannels, OrdererBlocks>, requests: Vec<Envelope>) -> Answers {
    deliver::stream(Arc::new(service), stream::iter(requests.into_iter().map(Ok)), None)
}

/// What an answer says: a block's number or a status.
fn read(answer: Option<Result<DeliverResponse, tonic::Status>>) -> Result<u64, Status> {
    match answer.expect("an answer").expect("no gRPC error").r#type.expect("content") {
        Type::Block(block) => Ok(block.header.unwrap().number),
        Type::Status(status) => Err(Status::try_from(status).unwrap()),
    }
}

async fn all(mut answers: Answers) -> Vec<Result<u64, Status>> {
    let mut read_answers = Vec::new();
    while let Some(answer) = answers.next().await {
        read_answers.push(read(Some(answer)));
    }
    read_answers
}

async fn ask(chain: &Arc<MemoryChain>, request: Envelope) -> Vec<Result<u64, Status>> {
    all(answers(service(chain), vec![request])).await
}

/// Whether the stream has nothing to say at this moment.
async fn waits(answers: &mut Answers) -> bool {
    poll_fn(|cx| Poll::Ready(answers.as_mut().poll_next(cx).is_pending())).await
}

#[tokio::test]
async fn a_range_ends_with_success_and_another_request_follows() {
    let chain = MemoryChain::new(4);
    let requests = vec![seek(oldest(), newest()), seek(at(2), at(3)), seek(newest(), newest())];
    let got = all(answers(service(&chain), requests)).await;
    let success = Err(Status::Success);
    assert_eq!(got, [Ok(0), Ok(1), Ok(2), Ok(3), success, Ok(2), Ok(3), success, Ok(3), success]);
}

#[tokio::test]
async fn a_stream_waits_for_blocks_that_are_still_to_come() {
    let chain = MemoryChain::new(2);
    for start in [next_commit(), at(2)] {
        let height = 2;
        assert_eq!(chain_height(&chain), height);
        let mut stream = answers(service(&chain), vec![seek(start, at(u64::MAX))]);
        assert!(waits(&mut stream).await);
    }
    let mut stream = answers(service(&chain), vec![seek(at(1), at(3))]);
    assert_eq!(read(stream.next().await), Ok(1));
    assert!(waits(&mut stream).await);
    chain.append(1);
    assert_eq!(read(stream.next().await), Ok(2));
    assert!(waits(&mut stream).await);
    chain.append(1);
    assert_eq!(read(stream.next().await), Ok(3));
    assert_eq!(read(stream.next().await), Err(Status::Success));
    assert!(stream.next().await.is_none());
}

fn chain_height(chain: &Arc<MemoryChain>) -> u64 {
    *deliver::Chain::heights(&**chain).borrow()
}

#[tokio::test]
async fn a_closed_request_side_still_gets_its_blocks() {
    let chain = MemoryChain::new(1);
    let (sender, requests) = mpsc::unbounded_channel();
    let requests = UnboundedReceiverStream::new(requests);
    let mut stream: Answers = deliver::stream(Arc::new(service(&chain)), requests, None);
    sender.send(Ok(seek(oldest(), at(1)))).unwrap();
    drop(sender);
    assert_eq!(read(stream.next().await), Ok(0));
    assert!(waits(&mut stream).await);
    chain.append(1);
    assert_eq!(read(stream.next().await), Ok(1));
    assert_eq!(read(stream.next().await), Err(Status::Success));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn an_impatient_request_is_refused_a_block_that_is_not_there() {
    let chain = MemoryChain::new(2);
    let info = SeekInfo { behavior: SeekBehavior::FailIfNotReady.into(), ..seek_info(at(1), at(5)) };
    let got = ask(&chain, envelope(&channel_header(), info.encode_to_vec())).await;
    assert_eq!(got, [Ok(1), Err(Status::NotFound)]);
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_and_ends_the_stream() {
    let chain = MemoryChain::new(2);
    let refused = |request: Envelope, status: Status| {
        let stream = answers(service(&chain), vec![request, seek(oldest(), oldest())]);
        async move { assert_eq!(all(stream).await, [Err(status)]) }
    };
    refused(seek(at(3), at(9)), Status::NotFound).await;
    refused(seek(at(1), at(0)), Status::BadRequest).await;
    let elsewhere = ChannelHeader { channel_id: "other".into(), ..channel_header() };
    refused(envelope(&elsewhere, seek_info(oldest(), oldest()).encode_to_vec()), Status::NotFound).await;
    refused(envelope(&channel_header(), vec![0xff]), Status::BadRequest).await;
    refused(envelope(&channel_header(), Vec::new()), Status::BadRequest).await;
    refused(Envelope { payload: vec![0xff].into(), ..Envelope::default() }, Status::BadRequest).await;
    refused(Envelope { payload: Payload::default().encode_to_vec().into(), ..Envelope::default() }, Status::BadRequest)
        .await;
}

#[tokio::test]
async fn a_request_is_of_its_time() {
    let chain = MemoryChain::new(1);
    let window = Duration::from_secs(15 * 60);
    let instant = Duration::from_nanos(1);
    let cases = [
        (Some(NOW), Ok(0)),
        (Some(NOW - window), Ok(0)),
        (Some(NOW + window), Ok(0)),
        (Some(NOW - window - instant), Err(Status::BadRequest)),
        (Some(NOW + window + instant), Err(Status::BadRequest)),
        (None, Err(Status::BadRequest)),
    ];
    for (sent, expected) in cases {
        let header = ChannelHeader { timestamp: sent.map(timestamp), ..channel_header() };
        let got = ask(&chain, envelope(&header, seek_info(oldest(), oldest()).encode_to_vec())).await;
        assert_eq!(got[0], expected, "{sent:?}");
    }
    let absurd = prost_types::Timestamp { seconds: i64::MIN, nanos: i32::MIN };
    let header = ChannelHeader { timestamp: Some(absurd), ..channel_header() };
    let got = ask(&chain, envelope(&header, seek_info(oldest(), oldest()).encode_to_vec())).await;
    assert_eq!(got, [Err(Status::BadRequest)]);
}

#[tokio::test]
async fn a_request_names_the_callers_certificate_where_that_is_demanded() {
    let chain = MemoryChain::new(1);
    let ours = [3; 32];
    let cases = [
        (true, &ours[..], Some(ours), Ok(0)),
        (true, &[], Some(ours), Err(Status::BadRequest)),
        (true, &ours, None, Err(Status::BadRequest)),
        (true, &[4; 32], Some(ours), Err(Status::BadRequest)),
        (true, &ours[..31], Some(ours), Err(Status::BadRequest)),
        (false, &[4; 32], Some(ours), Ok(0)),
        (false, &[], None, Ok(0)),
    ];
    for (tls_binding, claimed, shown, expected) in cases {
        let header = ChannelHeader { tls_cert_hash: claimed.to_vec().into(), ..channel_header() };
        let request = envelope(&header, seek_info(oldest(), oldest()).encode_to_vec());
        let mut service = service(&chain);
        service.terms.tls_binding = tls_binding;
        let mut stream: Answers = deliver::stream(Arc::new(service), stream::iter([Ok(request)]), shown);
        assert_eq!(read(stream.next().await), expected);
    }
}

#[tokio::test]
async fn the_policy_is_asked_again_when_the_configuration_changed_only() {
    let chain = MemoryChain::new(4);
    let mut stream = answers(service(&chain), vec![seek(oldest(), at(9))]);
    assert_eq!(read(stream.next().await), Ok(0));
    assert_eq!(read(stream.next().await), Ok(1));
    assert_eq!(chain.checks.load(Ordering::SeqCst), 1);
    chain.authorized.send_replace(false);
    assert_eq!(read(stream.next().await), Ok(2), "nobody asked");
    chain.config_sequence.store(1, Ordering::SeqCst);
    assert_eq!(read(stream.next().await), Err(Status::Forbidden));
    assert_eq!(chain.checks.load(Ordering::SeqCst), 2);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn each_request_of_a_stream_is_authorized() {
    let chain = MemoryChain::new(1);
    let (sender, requests) = mpsc::unbounded_channel();
    let requests = UnboundedReceiverStream::new(requests);
    let mut stream: Answers = deliver::stream(Arc::new(service(&chain)), requests, None);
    sender.send(Ok(seek(oldest(), oldest()))).unwrap();
    assert_eq!(read(stream.next().await), Ok(0));
    assert_eq!(read(stream.next().await), Err(Status::Success));
    chain.authorized.send_replace(false);
    sender.send(Ok(seek(oldest(), oldest()))).unwrap();
    assert_eq!(read(stream.next().await), Err(Status::Forbidden));
}

#[tokio::test]
async fn who_may_not_read_is_told_nothing_of_the_chain() {
    let chain = MemoryChain::new(1);
    chain.authorized.send_replace(false);
    assert_eq!(ask(&chain, seek(at(99), at(99))).await, [Err(Status::Forbidden)]);
}

#[tokio::test]
async fn an_expired_certificate_ends_the_stream_at_the_next_block() {
    let chain = MemoryChain::new(3);
    *chain.expires_at.lock().unwrap() = Some(clock());
    let seconds_past = Arc::new(AtomicU64::new(0));
    let mut service = service(&chain);
    let past = seconds_past.clone();
    service.clock = Arc::new(move || UNIX_EPOCH + NOW + Duration::from_secs(past.load(Ordering::SeqCst)));
    let mut stream = answers(service, vec![seek(oldest(), at(9))]);
    assert_eq!(read(stream.next().await), Ok(0), "not after its end");
    seconds_past.store(1, Ordering::SeqCst);
    assert_eq!(read(stream.next().await), Err(Status::Forbidden));
    *chain.expires_at.lock().unwrap() = Some(clock() - Duration::from_secs(1));
    assert_eq!(ask(&chain, seek(oldest(), oldest())).await, [Err(Status::Forbidden)]);
}

#[tokio::test]
async fn headers_come_without_data_except_for_configuration_blocks() {
    let chain = MemoryChain::new(2);
    let info = SeekInfo { content_type: SeekContentType::HeaderWithSig.into(), ..seek_info(oldest(), newest()) };
    let request = envelope(&channel_header(), info.encode_to_vec());
    let mut stream = answers(service(&chain), vec![request]);
    let mut blocks: Vec<Block> = Vec::new();
    for _ in 0..2 {
        let Type::Block(block) = stream.next().await.unwrap().unwrap().r#type.unwrap() else { panic!("a block") };
        blocks.push(block);
    }
    assert!(blocks[0].data.is_some() && blocks[1].data.is_none());
    assert_eq!(blocks[1].metadata.as_ref().unwrap().metadata.len(), 5);
}

#[tokio::test]
async fn without_consensus_only_best_effort_is_served() {
    let chain = MemoryChain::new(1);
    let mut patient = answers(service(&chain), vec![seek(oldest(), at(9))]);
    assert_eq!(read(patient.next().await), Ok(0));
    chain.healthy.send_replace(false);
    assert_eq!(read(patient.next().await), Err(Status::ServiceUnavailable));
    assert_eq!(ask(&chain, seek(oldest(), oldest())).await, [Err(Status::ServiceUnavailable)]);
    let info = SeekInfo { error_response: SeekErrorResponse::BestEffort.into(), ..seek_info(oldest(), oldest()) };
    let got = ask(&chain, envelope(&channel_header(), info.encode_to_vec())).await;
    assert_eq!(got, [Ok(0), Err(Status::Success)]);
}

#[tokio::test]
async fn after_a_snapshot_the_first_block_is_not_zero() {
    let chain = MemoryChain::new(5);
    chain.first_block.store(3, Ordering::SeqCst);
    assert_eq!(ask(&chain, seek(oldest(), newest())).await, [Err(Status::NotFound)]);
    assert_eq!(ask(&chain, seek(at(3), newest())).await, [Ok(3), Ok(4), Err(Status::Success)]);
}

#[tokio::test]
async fn shutdown_ends_a_stream_that_waits_and_one_that_reads() {
    for stop in [at(u64::MAX), next_commit()] {
        let chain = MemoryChain::new(2);
        let service = service(&chain);
        let shutdown = service.shutdown.clone();
        let mut stream = answers(service, vec![seek(at(1), stop)]);
        assert_eq!(read(stream.next().await), Ok(1));
        chain.append(1);
        shutdown.cancel();
        let status = stream.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(stream.next().await.is_none());
    }
}

#[tokio::test]
async fn a_broken_request_stream_ends_with_its_error() {
    let chain = MemoryChain::new(1);
    let requests = stream::iter([Err(tonic::Status::data_loss("cut"))]);
    let mut stream: Answers = deliver::stream(Arc::new(service(&chain)), requests, None);
    assert_eq!(stream.next().await.unwrap().unwrap_err().code(), tonic::Code::DataLoss);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_peer_answers_in_its_own_form() {
    use ripstop_proto::protos::deliver_response::Type;
    let chain = MemoryChain::new(1);
    let mut deliver = Deliver::new(MemoryChannels::one(&chain), PeerBlocks, Terms::default(), CancellationToken::new());
    deliver.clock = Arc::new(clock);
    let requests = stream::iter([Ok(seek(oldest(), oldest()))]);
    let answers: Vec<_> = deliver::stream(Arc::new(deliver), requests, None).collect().await;
    let contents: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().r#type.unwrap()).collect();
    assert!(matches!(&contents[..], [Type::Block(_), Type::Status(200)]), "{contents:?}");
}

/// Requests of random bytes: an answer, no panic, and an end.
#[tokio::test]
async fn damaged_requests_are_answered() {
    let chain = MemoryChain::new(3);
    let good = seek(oldest(), newest()).encode_to_vec();
    let seen = Mutex::new(std::collections::BTreeSet::new());
    for step in 0..400_usize {
        let mut bytes = good.clone();
        let place = step % bytes.len();
        bytes[place] ^= 1 << (step / bytes.len() % 8);
        let Ok(request) = Envelope::decode(&bytes[..]) else { continue };
        let service = service(&chain);
        let shutdown = service.shutdown.clone();
        let mut stream = answers(service, vec![request]);
        while !waits_or_ends(&mut stream, &seen).await {}
        shutdown.cancel();
    }
    assert!(seen.lock().unwrap().contains(&(Status::BadRequest as i32)));
}

/// Polls once; true when the stream waits or has ended.
async fn waits_or_ends(answers: &mut Answers, seen: &Mutex<std::collections::BTreeSet<i32>>) -> bool {
    poll_fn(|cx| {
        Poll::Ready(match answers.as_mut().poll_next(cx) {
            Poll::Pending | Poll::Ready(None) => true,
            Poll::Ready(Some(answer)) => {
                if let Some(Type::Status(status)) = answer.unwrap().r#type {
                    seen.lock().unwrap().insert(status);
                }
                false
            }
        })
    })
    .await
}
