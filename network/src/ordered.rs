//! Reading one block from an orderer, to see where in it a transaction stands.

use std::time::SystemTime;

use anyhow::{Context, bail};
use prost::Message;
use ripstop_proto::common::{Block, ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader};
use ripstop_proto::envelope::{OpenEnvelope, signed};
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::orderer::{SeekInfo, SeekPosition, SeekSpecified, deliver_response, seek_position};

use crate::cli::Target;
use crate::folder::Folder;
use crate::session;

const MESSAGE_BYTES_MAX: usize = 100 * 1024 * 1024;

/// The index of a transaction in a block.
pub(crate) async fn position(folder: &Folder, target: &Target, number: u64, tx_id: &str) -> anyhow::Result<usize> {
    let block = block(folder, target, number).await?;
    let entries = block.data.unwrap_or_default().data;
    entries
        .iter()
        .position(|entry| OpenEnvelope::open(entry).is_ok_and(|envelope| envelope.channel_header.tx_id == tx_id))
        .with_context(|| format!("block {number} does not hold {tx_id}"))
}

/// The block with this number, from the network's first orderer.
async fn block(folder: &Folder, target: &Target, number: u64) -> anyhow::Result<Block> {
    let topology = folder.topology()?;
    let (user, organization) = session::user(&topology, target)?;
    let identity = session::identity(folder, organization, user)?;
    let orderer = topology.orderers.first().context("the network has no orderer")?;
    let connection = session::connect_orderer(folder, &topology, orderer).await?;
    let channel = target.channel.as_ref().unwrap_or(&topology.channel);
    let payload = seek(channel, identity.serialized(), number).encode_to_vec();
    let signature = identity.sign(&payload)?;
    let request: Envelope = signed(payload.into(), signature.into());
    let mut client = AtomicBroadcastClient::new(connection).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut answers = client.deliver(tokio_stream::once(request)).await?.into_inner();
    match answers.message().await?.and_then(|answer| answer.r#type) {
        Some(deliver_response::Type::Block(block)) => Ok(block),
        answer => bail!("{} answered {answer:?} instead of block {number}", orderer.name),
    }
}

/// A request for exactly one block.
fn seek(channel: &str, creator: &bytes::Bytes, number: u64) -> Payload {
    let position = || SeekPosition { r#type: Some(seek_position::Type::Specified(SeekSpecified { number })) };
    let seek = SeekInfo { start: Some(position()), stop: Some(position()), ..Default::default() };
    let channel_header = ChannelHeader {
        r#type: HeaderType::DeliverSeekInfo.into(),
        timestamp: Some(SystemTime::now().into()),
        channel_id: channel.to_owned(),
        ..Default::default()
    };
    let signature_header =
        SignatureHeader { creator: creator.clone(), nonce: rand::random::<[u8; 24]>().to_vec().into() };
    let header = Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    };
    Payload { header: Some(header), data: seek.encode_to_vec().into() }
}
