//! `cscc`: joining channels and asking for their configuration.
//!
//! Functions that change a channel come in blocks, never here.
//! Source: Fabric `core/scc/cscc/configure.go`.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_msp::{Msp, SignedBytes};
use ripstop_proto::block;
use ripstop_proto::common::Block;
use ripstop_proto::protos::{ChannelInfo, ChannelQueryResponse, Response};

use crate::access;
use crate::channel::{Channel, Channels};

/// The system chaincode `cscc` of one peer.
pub struct Cscc {
    local_msp: Arc<Msp>,
    channels: Arc<Channels>,
}

impl Cscc {
    /// For a peer of the organization of `local_msp`.
    pub fn new(local_msp: Arc<Msp>, channels: Arc<Channels>) -> Self {
        Self { local_msp, channels }
    }

    /// Runs one function; `signed` is what the caller signed. Joining writes to disk:
    /// call it off the runtime's threads.
    pub fn invoke(&self, args: &[Bytes], signed: &SignedBytes<'_>) -> Response {
        match self.run(args, signed) {
            Ok(payload) => Response { status: 200, message: String::new(), payload },
            Err(message) => Response { status: 500, message, payload: Bytes::new() },
        }
    }

    fn run(&self, args: &[Bytes], signed: &SignedBytes<'_>) -> Result<Bytes, String> {
        let too_few = || format!("Incorrect number of arguments, {}", args.len());
        let function = String::from_utf8_lossy(args.first().ok_or_else(too_few)?);
        if function == "GetChannels" {
            return self.channel_list(signed);
        }
        let argument = args.get(1).ok_or_else(too_few)?;
        match &*function {
            "JoinChain" => self.join(argument, signed),
            "GetConfigBlock" => self.config_block(argument, signed),
            "GetChannelConfig" => self.channel_config(argument, signed),
            "JoinChainBySnapshot" | "JoinBySnapshotStatus" => {
                Err(format!("{function} is not supported by this version: join the channel with its genesis block"))
            }
            _ => Err(format!("Requested function {function} not found.")),
        }
    }

    fn join(&self, genesis: &Bytes, signed: &SignedBytes<'_>) -> Result<Bytes, String> {
        access::check_local_admin(&self.local_msp, signed)
            .map_err(|denied| format!("access denied for [JoinChain]: [{denied}]"))?;
        let genesis = Block::decode(genesis.clone())
            .map_err(|cause| format!("Failed to reconstruct the genesis block, {cause}"))?;
        let channel = self.channels.join(genesis).map_err(|cause| cause.to_string())?;
        tracing::info!(channel = channel.id(), "joined a channel");
        Ok(Bytes::new())
    }

    fn channel_list(&self, signed: &SignedBytes<'_>) -> Result<Bytes, String> {
        access::check_local_member(&self.local_msp, signed)
            .map_err(|denied| format!("access denied for [GetChannels]: {denied}"))?;
        let channels = self.channels.ids().into_iter().map(|channel_id| ChannelInfo { channel_id }).collect();
        Ok(ChannelQueryResponse { channels }.encode_to_vec().into())
    }

    fn config_block(&self, channel_id: &Bytes, signed: &SignedBytes<'_>) -> Result<Bytes, String> {
        let channel = self.readable("GetConfigBlock", channel_id, signed)?;
        let ledger = channel.ledger();
        let trouble =
            |cause: &dyn std::fmt::Display| format!("cannot read the configuration of {}: {cause}", channel.id());
        let last = ledger.height().saturating_sub(1);
        let last_block = ledger.block(last).map_err(|cause| trouble(&cause))?;
        let last_block = last_block.ok_or_else(|| trouble(&format!("block {last} is missing")))?;
        let number = block::last_config_index(&last_block).map_err(|cause| trouble(&cause))?;
        let config_block = ledger.block(number).map_err(|cause| trouble(&cause))?;
        let config_block = config_block.ok_or_else(|| trouble(&format!("block {number} is missing")))?;
        Ok(config_block.encode_to_vec().into())
    }

    fn channel_config(&self, channel_id: &Bytes, signed: &SignedBytes<'_>) -> Result<Bytes, String> {
        if channel_id.is_empty() {
            return Err("empty channel name provided".to_owned());
        }
        let channel = self.readable("GetChannelConfig", channel_id, signed)?;
        Ok(channel.config().config().encode_to_vec().into())
    }

    /// The channel, if the caller may read it. An unknown channel and a forbidden one
    /// give the same kind of answer.
    fn readable(&self, function: &str, channel_id: &[u8], signed: &SignedBytes<'_>) -> Result<Arc<Channel>, String> {
        let channel_id = String::from_utf8_lossy(channel_id);
        let denied = |cause: String| format!("access denied for [{function}][{channel_id}]: {cause}");
        let channel = self
            .channels
            .get(&channel_id)
            .ok_or_else(|| denied(format!("this peer has not joined channel {channel_id:?}")))?;
        access::check_channel(&channel.config(), &format!("cscc/{function}"), signed)
            .map_err(|cause| denied(cause.to_string()))?;
        Ok(channel)
    }
}
