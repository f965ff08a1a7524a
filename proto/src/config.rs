//! Finding the channel configuration inside a block.

use prost::Message;

use crate::common::{Block, ConfigEnvelope, HeaderType};
use crate::envelope::{EnvelopeError, OpenEnvelope};

/// The state key under which peers keep the newest configuration, in namespace "".
pub const STATE_KEY: &str = "CHANNEL_CONFIG_ENV_BYTES";

/// Why a block is not a configuration block.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigBlockError {
    /// Configuration blocks hold exactly one envelope.
    #[error("a configuration block holds exactly one envelope, this block {0}")]
    EntryCount(usize),
    /// The envelope cannot be read.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The envelope is of another type.
    #[error("the block's envelope has header type {0}, a configuration has {config}", config = HeaderType::Config as i32)]
    Type(i32),
    /// The payload is no `ConfigEnvelope`.
    #[error("config envelope does not decode: {0}")]
    Undecodable(prost::DecodeError),
}

/// The configuration that `block` carries, and the channel it is for.
///
/// # Errors
/// Says why the block is not a configuration block.
pub fn config_envelope(block: &Block) -> Result<(String, ConfigEnvelope), ConfigBlockError> {
    let entries = block.data.as_ref().map_or(&[][..], |data| &data.data);
    let [entry] = entries else { return Err(ConfigBlockError::EntryCount(entries.len())) };
    let envelope = OpenEnvelope::open(entry)?;
    if envelope.header_type() != Some(HeaderType::Config) {
        return Err(ConfigBlockError::Type(envelope.channel_header.r#type));
    }
    let config = ConfigEnvelope::decode(envelope.payload.data.clone()).map_err(ConfigBlockError::Undecodable)?;
    Ok((envelope.channel_header.channel_id, config))
}
