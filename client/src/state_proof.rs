//! Proofs of what a key held, checked with nothing but the certificates of authorities.
//!
//! A [`StateProof`] comes from peers, as a file that `ripstop state --prove` writes
//! (docs/formats.md). It brings a value, the trie's nodes from the block's state root towards the
//! key, and the signatures of peers over the block's roots. It brings no trust: whose
//! signatures count is said by whoever verifies it.

use std::num::NonZeroUsize;

use bytes::Bytes;
use prost::Message;
use ripstop_msp::{Identity, Msp, Role};
use ripstop_proto::block_roots::signing_input;
use ripstop_proto::msp::SerializedIdentity;
use ripstop_proto::ripstop::v1::{BlockRoots, SignedBlockRoots};
use ripstop_trie::{Hash, Proof, StateLeaf, keccak256, state_path, verify};

mod error;
mod file;

pub use error::StateProofError;

/// What a key held after a block, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateProof {
    /// The channel.
    pub channel_id: String,
    /// A chaincode, or empty for the channel's configuration.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// The last block that counts.
    pub block_number: u64,
    /// What stands under the key; `None` when it is not there.
    pub content: Option<StateContent>,
    /// The trie's nodes from the block's state root towards the key.
    pub nodes: Vec<Bytes>,
    /// A marshalled `ripstop.v1.BlockRoots`, as the peers signed it.
    pub block_roots: Bytes,
    /// The peers' signatures.
    pub attestations: Vec<Attestation>,
}

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateContent {
    /// Block of the transaction that last wrote the key.
    pub block_number: u64,
    /// Its index in the block.
    pub tx_index: u64,
    /// The value.
    pub value: Bytes,
    /// Marshalled metadata, such as the key's endorsement policy.
    pub metadata: Option<Bytes>,
}

/// A peer's signature over the roots and its own identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// A marshalled `msp.SerializedIdentity`.
    pub identity: Bytes,
    /// Over [`StateProof::block_roots`], then the identity.
    pub signature: Bytes,
}

/// Who vouches for a proof that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouchers {
    /// The peers whose signatures count, one for each organization.
    pub counted: Vec<Voucher>,
    /// The signatures that do not count, and why.
    pub not_counted: Vec<NotCounted>,
    /// Whether the key has metadata that the proof does not bring: a peer holds the metadata
    /// of a key's newest version only.
    pub metadata_is_missing: bool,
}

/// A peer of a trusted organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voucher {
    /// The organization's MSP id, as the peer says it.
    pub msp_id: String,
    /// Subject of the peer's certificate.
    pub subject: String,
}

/// A signature that says nothing to those who verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCounted {
    /// The MSP id that the signer claims.
    pub msp_id: String,
    /// Why it does not count.
    pub reason: String,
}

/// How many of `organizations` are more than half of them.
pub fn majority(organizations: NonZeroUsize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(organizations.get() / 2)
}

impl StateProof {
    /// Checks that peers of at least `needed` of these organizations signed the block's roots,
    /// and that the roots, the nodes, the key and the content belong together.
    ///
    /// An organization is known by its authorities' certificates, not by what it is called:
    /// a signature counts for the first MSP whose authorities issued the signer's certificate,
    /// with the role peer. That certificate may have expired since.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    ///
    /// use ripstop_client::{Msp, StateProof};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let proof = StateProof::from_json(&std::fs::read("testdata/state_proof/proof.json")?)?;
    /// let organizations = [
    ///     Msp::from_folder("Org1MSP", "testdata/state_proof/org1/msp")?,
    ///     Msp::from_folder("Org2MSP", "testdata/state_proof/org2/msp")?,
    /// ];
    /// let vouchers = proof.verify(&organizations, NonZeroUsize::try_from(2)?)?;
    /// assert_eq!(vouchers.counted[1].msp_id, "Org2MSP");
    /// let content = proof.content.ok_or("the key is proved to be absent")?;
    /// assert!(content.value.starts_with(b"{\"AppraisedValue\":300"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Says what does not fit. A signature that no trusted authority stands behind does not
    /// count; anything else that was altered is an error.
    pub fn verify(&self, organizations: &[Msp], needed: NonZeroUsize) -> Result<Vouchers, StateProofError> {
        let (counted, not_counted) = self.check_attestations(organizations)?;
        if counted.len() < needed.get() {
            return Err(StateProofError::too_few(&counted, &not_counted, needed, organizations.len()));
        }
        let state_root = self.check_roots()?;
        let metadata_is_missing = self.check_content(&state_root)?;
        Ok(Vouchers { counted, not_counted, metadata_is_missing })
    }

    /// The signatures that count, one for each organization, and those that do not.
    fn check_attestations(&self, organizations: &[Msp]) -> Result<(Vec<Voucher>, Vec<NotCounted>), StateProofError> {
        let mut counted: Vec<Option<Voucher>> = vec![None; organizations.len()];
        let mut not_counted = Vec::new();
        for (index, attestation) in self.attestations.iter().enumerate() {
            let serialized = SerializedIdentity::decode(attestation.identity.clone())
                .map_err(|cause| StateProofError::Identity { index, cause: cause.to_string() })?;
            let msp_id = serialized.mspid.clone();
            let (place, identity) = match issued_by(organizations, &serialized) {
                Ok(found) => found,
                Err(reason) => {
                    not_counted.push(NotCounted { msp_id, reason });
                    continue;
                }
            };
            let subject = identity.certificate().subject_text().to_owned();
            identity
                .verify(&self.signing_input(attestation), &attestation.signature)
                .map_err(|cause| StateProofError::Signature { subject: subject.clone(), cause: cause.to_string() })?;
            counted[place].get_or_insert(Voucher { msp_id, subject });
        }
        Ok((counted.into_iter().flatten().collect(), not_counted))
    }

    fn signing_input(&self, attestation: &Attestation) -> Vec<u8> {
        signing_input(&SignedBlockRoots {
            block_roots: self.block_roots.clone(),
            identity: attestation.identity.clone(),
            signature: Bytes::new(),
        })
    }

    /// The state root, once the roots are of the channel and block that the proof names.
    fn check_roots(&self) -> Result<Hash, StateProofError> {
        let roots = BlockRoots::decode(self.block_roots.clone())
            .map_err(|cause| StateProofError::Roots { cause: cause.to_string() })?;
        if roots.channel_id != self.channel_id {
            let (found, signed) = (format!("{:?}", self.channel_id), format!("{:?}", roots.channel_id));
            return Err(StateProofError::Field { field: "channel", found, signed });
        }
        if roots.number != self.block_number {
            let (found, signed) = (self.block_number.to_string(), roots.number.to_string());
            return Err(StateProofError::Field { field: "block", found, signed });
        }
        let length = roots.state_root.len();
        let no_hash = |_| StateProofError::Roots { cause: format!("a state root has 32 bytes, not {length}") };
        Hash::try_from(&roots.state_root[..]).map_err(no_hash)
    }

    /// Checks nodes and content against the root. Gives whether metadata is missing.
    fn check_content(&self, state_root: &Hash) -> Result<bool, StateProofError> {
        // Elsewhere the path would be that of another namespace's key, too.
        if self.namespace.contains('\0') {
            return Err(StateProofError::Namespace);
        }
        let nodes = Proof { nodes: self.nodes.iter().map(|node| node.to_vec()).collect() };
        let path = state_path(&self.namespace, self.key.as_bytes());
        let (leaf, content) = match (verify(state_root, &path, &nodes)?, &self.content) {
            (None, None) => return Ok(false),
            (None, Some(_)) => return Err(StateProofError::Absent),
            (Some(_), None) => return Err(StateProofError::Present),
            (Some(leaf), Some(content)) => (StateLeaf::read(leaf).ok_or(StateProofError::Leaf)?, content),
        };
        if (content.block_number, content.tx_index) != (leaf.block_number, leaf.tx_index) {
            let found = format!("[{}, {}]", content.block_number, content.tx_index);
            let signed = format!("[{}, {}]", leaf.block_number, leaf.tx_index);
            return Err(StateProofError::Field { field: "version", found, signed });
        }
        if keccak256(&content.value) != leaf.value_hash {
            return Err(StateProofError::Content("value"));
        }
        match &content.metadata {
            Some(metadata) if Some(keccak256(metadata)) != leaf.metadata_hash => {
                Err(StateProofError::Content("metadata"))
            }
            metadata => Ok(metadata.is_none() && leaf.metadata_hash.is_some()),
        }
    }
}

/// The organization whose authorities issued a peer's certificate, or why there is none.
fn issued_by(organizations: &[Msp], serialized: &SerializedIdentity) -> Result<(usize, Identity), String> {
    let valid = organizations.iter().enumerate().find_map(|(place, msp)| {
        let identity = msp.identity_from_pem(&serialized.id_bytes).ok()?;
        msp.validate(&identity).ok()?;
        Some((place, identity))
    });
    let (place, identity) = valid.ok_or("no trusted authority issued its certificate")?;
    match identity.role() {
        Some(Role::Peer) => Ok((place, identity)),
        Some(role) => Err(format!("{} is no peer but has the role {role:?}", identity.certificate().subject_text())),
        None => {
            Err(format!("the MSP {} tells no roles apart: its config.yaml sets NodeOUs off", organizations[place].id()))
        }
    }
}
