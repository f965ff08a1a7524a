//! A block: its header, who signed it, its codes and its transactions.

use std::fmt::{self, Display};

use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_proto::block::{
    SIGNATURES, TRANSACTIONS_FILTER, commit_hash, data_hash, header_hash, last_config_index, metadata_slot,
    signing_input,
};
use ripstop_proto::common::{self, BlockHeader, Metadata, SignatureHeader};
use serde::Serialize;

use super::identity::Signer;
use super::transaction::{Transaction, code_name, mismatch};
use crate::output::Tone;

/// A block, opened.
#[derive(Debug, Serialize)]
pub(crate) struct Block {
    number: u64,
    hash: String,
    previous_hash: String,
    /// Whether that is the hash of the block before, where the block before is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_hash_matches: Option<bool>,
    data_hash: String,
    data_hash_matches: bool,
    signatures: Vec<Signature>,
    last_config: Option<u64>,
    commit_hash: Option<String>,
    transactions: Vec<Entry>,
}

/// An orderer's signature over the block.
#[derive(Debug, Serialize)]
struct Signature {
    #[serde(flatten)]
    signer: Signer,
    /// Whether it is good, where the configuration in force is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
}

/// A transaction and what became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    index: usize,
    /// `None` in a block that no peer has validated.
    code: Option<String>,
    code_number: Option<u8>,
    #[serde(flatten)]
    transaction: Transaction,
}

/// What is known from the blocks before.
#[derive(Debug, Default)]
pub(crate) struct Before<'a> {
    /// Hash of the block before.
    pub(crate) hash: Option<[u8; 32]>,
    /// The configuration in force.
    pub(crate) config: Option<&'a ChannelConfig>,
}

impl Block {
    /// Opens a block that has a header.
    pub(crate) fn open(block: &common::Block, before: &Before<'_>) -> Self {
        let header = block.header.clone().unwrap_or_default();
        let entries = block.data.as_ref().map_or(&[][..], |data| &data.data);
        Self {
            number: header.number,
            hash: hex::encode(header_hash(&header)),
            previous_hash: hex::encode(&header.previous_hash),
            previous_hash_matches: before.hash.map(|hash| hash == header.previous_hash[..]),
            data_hash: hex::encode(&header.data_hash),
            data_hash_matches: data_hash(entries) == header.data_hash[..],
            signatures: signatures(block, &header, before.config),
            last_config: last_config_index(block).ok(),
            commit_hash: commit_hash(block).map(hex::encode),
            transactions: (0..entries.len()).filter_map(|index| Entry::of(block, index)).collect(),
        }
    }
}

impl Entry {
    /// The transaction at `index` of a block.
    pub(crate) fn of(block: &common::Block, index: usize) -> Option<Self> {
        let entry = block.data.as_ref()?.data.get(index)?;
        let code = metadata_slot(block, TRANSACTIONS_FILTER).get(index).copied();
        Some(Self {
            index,
            code: code.map(|code| code_name(code.into())),
            code_number: code,
            transaction: Transaction::open(entry),
        })
    }

    /// The id under which it is indexed.
    pub(crate) fn tx_id(&self) -> &str {
        self.transaction.tx_id()
    }
}

fn signatures(block: &common::Block, header: &BlockHeader, config: Option<&ChannelConfig>) -> Vec<Signature> {
    let Ok(metadata) = Metadata::decode(metadata_slot(block, SIGNATURES)) else { return Vec::new() };
    let signature = |signature: &common::MetadataSignature| {
        let creator = SignatureHeader::decode(signature.signature_header.clone()).unwrap_or_default().creator;
        let message = signing_input(&metadata.value, &signature.signature_header, header);
        let is_good = |config: &ChannelConfig| {
            let identity = config.msps().identity(&creator);
            identity.is_ok_and(|identity| identity.verify(&message, &signature.signature).is_ok())
        };
        Signature { signer: Signer::of(&creator), verified: config.map(is_good) }
    };
    metadata.signatures.iter().map(signature).collect()
}

impl Display for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", Tone::Heading.paint(&format!("block {}  {}", self.number, self.hash)))?;
        let previous = mismatch(self.previous_hash_matches != Some(false));
        writeln!(formatter, "  previous     {}{previous}", self.previous_hash)?;
        writeln!(formatter, "  data hash    {}{}", self.data_hash, mismatch(self.data_hash_matches))?;
        for signature in &self.signatures {
            let verified = match signature.verified {
                Some(true) => Tone::Good.paint("  verified"),
                Some(false) => Tone::Bad.paint("  NOT GOOD"),
                None => String::new(),
            };
            writeln!(formatter, "  signed by    {}{verified}", signature.signer)?;
        }
        if let Some(commit_hash) = &self.commit_hash {
            writeln!(formatter, "  commit hash  {commit_hash}")?;
        }
        if let Some(last_config) = self.last_config {
            writeln!(formatter, "  last config  block {last_config}")?;
        }
        self.transactions.iter().try_for_each(|entry| write!(formatter, "{entry}"))
    }
}

impl Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tone = if self.code_number == Some(0) { Tone::Good } else { Tone::Bad };
        let code = self.code.as_deref().map_or_else(|| "not validated".to_owned(), |code| tone.paint(code));
        writeln!(formatter, "  {:<3}{}", self.index, code)?;
        write!(formatter, "{}", self.transaction)
    }
}
