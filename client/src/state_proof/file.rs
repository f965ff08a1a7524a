//! A proof as a file: one JSON object, bytes in hexadecimal. See docs/formats.md.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Attestation, StateContent, StateProof, StateProofError};

/// What kind of file it is.
const FORMAT: &str = "ripstop-state-proof-1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    channel: String,
    namespace: String,
    key: String,
    block: u64,
    version: Option<(u64, u64)>,
    value: Option<Hex>,
    metadata: Option<Hex>,
    nodes: Vec<Hex>,
    block_roots: Hex,
    attestations: Vec<FileAttestation>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAttestation {
    identity: Hex,
    signature: Hex,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Hex(Bytes);

impl From<Hex> for String {
    fn from(Hex(bytes): Hex) -> Self {
        hex::encode(bytes)
    }
}

impl TryFrom<String> for Hex {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        hex::decode(text).map(|bytes| Self(bytes.into()))
    }
}

impl StateProof {
    /// Reads a proof file. Nothing is verified yet.
    ///
    /// # Errors
    /// When it is none of this version.
    pub fn from_json(json: &[u8]) -> Result<Self, StateProofError> {
        let wrong = |cause: String| StateProofError::File(cause);
        let file: File = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        if file.format != FORMAT {
            return Err(wrong(format!("its format is {:?}, this version reads {FORMAT:?}", file.format)));
        }
        let content = match (file.version, file.value, file.metadata) {
            (None, None, None) => None,
            (Some((block_number, tx_index)), Some(Hex(value)), metadata) => {
                Some(StateContent { block_number, tx_index, value, metadata: metadata.map(|Hex(bytes)| bytes) })
            }
            _ => return Err(wrong("version and value stand together, and metadata only beside them".to_owned())),
        };
        let attestation = |it: FileAttestation| Attestation { identity: it.identity.0, signature: it.signature.0 };
        Ok(Self {
            channel_id: file.channel,
            namespace: file.namespace,
            key: file.key,
            block_number: file.block,
            content,
            nodes: file.nodes.into_iter().map(|Hex(node)| node).collect(),
            block_roots: file.block_roots.0,
            attestations: file.attestations.into_iter().map(attestation).collect(),
        })
    }

    /// The proof as a file, on several lines.
    ///
    /// # Errors
    /// None that is known: the format has a place for everything.
    pub fn to_json(&self) -> Result<String, StateProofError> {
        let content = self.content.as_ref();
        let hex = |bytes: &Bytes| Hex(bytes.clone());
        let attestation =
            |it: &Attestation| FileAttestation { identity: hex(&it.identity), signature: hex(&it.signature) };
        let file = File {
            format: FORMAT.to_owned(),
            channel: self.channel_id.clone(),
            namespace: self.namespace.clone(),
            key: self.key.clone(),
            block: self.block_number,
            version: content.map(|content| (content.block_number, content.tx_index)),
            value: content.map(|content| hex(&content.value)),
            metadata: content.and_then(|content| content.metadata.as_ref()).map(hex),
            nodes: self.nodes.iter().map(hex).collect(),
            block_roots: hex(&self.block_roots),
            attestations: self.attestations.iter().map(attestation).collect(),
        };
        serde_json::to_string_pretty(&file).map_err(|error| StateProofError::File(error.to_string()))
    }
}
