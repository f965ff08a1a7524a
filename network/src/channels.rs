//! `channel list` and `channel info`: what a peer says of its channels.

use anyhow::Context;
use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_proto::common::{Block, BlockchainInfo};
use ripstop_proto::protos::ChannelQueryResponse;
use serde_json::json;

use crate::cli::Target;
use crate::folder::Folder;
use crate::output::{print, say};
use crate::session::Session;
use crate::table::Table;

/// Prints the channels that a peer has joined.
pub(crate) async fn list(folder: &Folder, target: &Target, json: bool) -> anyhow::Result<()> {
    let session = Session::open(folder, target).await?;
    let answer = session.ask("", "cscc", "GetChannels", &[]).await?;
    let joined = ChannelQueryResponse::decode(answer).context("the peer's answer is no list of channels")?.channels;
    let mut table = Table::new(&["NAME", "HEIGHT"]);
    let mut rows = Vec::new();
    for channel in joined {
        let height = chain(&session, &channel.channel_id).await?.height;
        rows.push(json!({ "name": channel.channel_id, "height": height }));
        table.push([channel.channel_id, height.to_string()]);
    }
    if json { say(&json!({ "channels": rows })) } else { print(&table) }
}

/// Prints what a channel is.
pub(crate) async fn show(folder: &Folder, target: Target, name: String, json: bool) -> anyhow::Result<()> {
    let session = Session::open(folder, &Target { channel: Some(name), ..target }).await?;
    let name = session.channel();
    let chain = chain(&session, name).await?;
    let answer = session.ask(name, "cscc", "GetConfigBlock", &[name]).await?;
    let block = Block::decode(answer).context("the peer's answer is no block")?;
    let config = ChannelConfig::from_block(&block).context("the channel's configuration is not understood")?;
    if json { say(&as_json(&config, &chain)) } else { print(&as_table(&config, &chain)) }
}

async fn chain(session: &Session, channel: &str) -> anyhow::Result<BlockchainInfo> {
    let answer = session.ask(channel, "qscc", "GetChainInfo", &[channel]).await?;
    BlockchainInfo::decode(answer).context("the peer's answer says nothing of a chain")
}

fn as_json(config: &ChannelConfig, chain: &BlockchainInfo) -> serde_json::Value {
    let capabilities = config.capabilities();
    let mut shown = json!({
        "channel": config.channel_id(),
        "height": chain.height,
        "hash": hex::encode(&chain.current_block_hash),
        "previous_hash": hex::encode(&chain.previous_block_hash),
        "config_sequence": config.sequence(),
        "capabilities": { "channel": capabilities.channel.name(), "orderer": capabilities.orderer.name(),
                          "application": capabilities.application.name() },
    });
    if let Some(application) = config.application() {
        let organizations = application.organizations.iter().map(|organization| {
            let anchors = organization.anchor_peers.iter().map(|(host, port)| format!("{host}:{port}"));
            json!({ "name": organization.name, "msp_id": organization.msp_id,
                    "anchor_peers": anchors.collect::<Vec<_>>() })
        });
        shown["organizations"] = json!(organizations.collect::<Vec<_>>());
    }
    if let Some(orderer) = config.orderer() {
        let organizations = orderer.organizations.iter().map(|organization| {
            json!({ "name": organization.name, "msp_id": organization.msp_id, "endpoints": organization.endpoints })
        });
        let consenters = orderer.raft.iter().flat_map(|raft| &raft.consenters);
        shown["orderer"] = json!({
            "consensus": orderer.consensus_type,
            "maintenance": orderer.maintenance,
            "consenters": consenters.map(|it| format!("{}:{}", it.host, it.port)).collect::<Vec<_>>(),
            "organizations": organizations.collect::<Vec<_>>(),
            "batch_timeout_ms": orderer.batch_timeout.as_millis() as u64,
            "max_message_count": orderer.batch_size.max_message_count,
            "preferred_max_bytes": orderer.batch_size.preferred_max_bytes,
            "absolute_max_bytes": orderer.batch_size.absolute_max_bytes,
        });
    }
    shown
}

fn as_table(config: &ChannelConfig, chain: &BlockchainInfo) -> Table {
    let mut table = Table::new(&[]);
    let mut row = |name: &str, value: String| table.push([name.to_owned(), value]);
    row("channel", config.channel_id().to_owned());
    row("height", chain.height.to_string());
    row("newest block", hex::encode(&chain.current_block_hash));
    row("configuration", format!("sequence {}", config.sequence()));
    let capabilities = config.capabilities();
    row(
        "capabilities",
        format!(
            "channel {}, orderer {}, application {}",
            capabilities.channel.name(),
            capabilities.orderer.name(),
            capabilities.application.name()
        ),
    );
    for organization in config.application().into_iter().flat_map(|application| &application.organizations) {
        let anchors: Vec<String> =
            organization.anchor_peers.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        row("organization", format!("{}, anchor peers {}", organization.msp_id, anchors.join(", ")));
    }
    if let Some(orderer) = config.orderer() {
        row("consensus", orderer.consensus_type.clone());
        for consenter in orderer.raft.iter().flat_map(|raft| &raft.consenters) {
            row("orderer", format!("{}:{}", consenter.host, consenter.port));
        }
        let size = orderer.batch_size;
        row("batch timeout", format!("{:?}", orderer.batch_timeout));
        row("block", format!("up to {} transactions, {} bytes", size.max_message_count, size.preferred_max_bytes));
        row("transaction", format!("up to {} bytes", size.absolute_max_bytes));
    }
    table
}
