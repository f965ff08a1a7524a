//! What a peer says of itself: made and signed here, and taken from others only when it is
//! whole, within its limits, and signed by a peer of the channel.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_msp::{Identity, IdentityError, Role, SignatureError, SigningError, SigningIdentity};
use ripstop_proto::block_roots;
use ripstop_proto::ripstop::v1::{BlockRoots, PeerStatus, SignedBlockRoots, SignedPeerStatus};

/// Bytes of one marshalled status.
pub(super) const STATUS_BYTES_MAX: usize = 64 * 1024;
/// Chaincodes that one status may name, and that are named of ourselves.
pub(super) const CHAINCODES_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 255;
/// Sets these signatures apart from those over anything else.
const PURPOSE: &[u8] = b"ripstop.v1.PeerStatus\0";

/// A peer's status that was checked.
#[derive(Debug, Clone)]
pub struct PeerWord {
    /// As it was told.
    pub status: PeerStatus,
    /// Its organization.
    pub msp_id: String,
    /// As it was signed, to be passed on.
    pub signed: SignedPeerStatus,
}

/// A block's roots as a peer of the channel vouches for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The peer's organization.
    pub msp_id: String,
    /// SHA-256 of the peer's certificate.
    pub identity: [u8; 32],
    /// The block.
    pub number: u64,
    /// Marshalled `BlockRoots`.
    pub roots: Bytes,
}

/// Why a word is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Unbelievable {
    /// Too long, or too much in it.
    #[error("{what} has a length of {found}, at most {max} is taken")]
    TooMuch {
        /// Of what there is too much.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// Not the bytes of the message.
    #[error("it does not decode: {0}")]
    Undecodable(#[from] prost::DecodeError),
    /// About another channel.
    #[error("it is about channel {0:?}")]
    OtherChannel(String),
    /// No usable address.
    #[error("its endpoint {0:?} is no host:port, or not of the host in its TLS certificate")]
    Endpoint(String),
    /// Nobody the channel knows.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Somebody else than a peer.
    #[error("{0} is no peer of an organization of the channel")]
    NoPeer(String),
    /// Signed by somebody else, or altered.
    #[error("its signature is wrong: {0}")]
    Signature(#[from] SignatureError),
}

/// Signs a status.
///
/// # Errors
/// When the identity cannot sign.
pub(super) fn sign(status: &PeerStatus, identity: &SigningIdentity) -> Result<SignedPeerStatus, SigningError> {
    let status: Bytes = status.encode_to_vec().into();
    let signature = identity.sign(&signing_input(&status))?.into();
    Ok(SignedPeerStatus { status, signature })
}

/// Opens and checks a status.
///
/// # Errors
/// Says why it is not believed.
pub(super) fn open(signed: SignedPeerStatus, config: &ChannelConfig) -> Result<PeerWord, Unbelievable> {
    let status = read(&signed)?;
    within("the list of chaincodes", status.chaincodes.len(), CHAINCODES_MAX)?;
    if status.channel_id != config.channel_id() {
        return Err(Unbelievable::OtherChannel(shortened(&status.channel_id)));
    }
    if host_of(&status.endpoint) != Some(status.tls_name.as_str()) {
        return Err(Unbelievable::Endpoint(shortened(&status.endpoint)));
    }
    for chaincode in &status.chaincodes {
        within("a chaincode's name", chaincode.name.len(), NAME_BYTES_MAX)?;
        within("a chaincode's version", chaincode.version.len(), NAME_BYTES_MAX)?;
    }
    let identity = peer_identity(&status.identity, config)?;
    identity.verify(&signing_input(&signed.status), &signed.signature)?;
    Ok(PeerWord { msp_id: identity.msp_id().to_owned(), status, signed })
}

/// The status without a look at who signed it.
///
/// # Errors
/// When it is too long or does not decode.
pub(super) fn read(signed: &SignedPeerStatus) -> Result<PeerStatus, Unbelievable> {
    within("a status", signed.status.len(), STATUS_BYTES_MAX)?;
    Ok(PeerStatus::decode(signed.status.clone())?)
}

/// Opens and checks a peer's word for a block's roots.
///
/// # Errors
/// Says why it is not believed.
pub fn attestation(signed: &SignedBlockRoots, config: &ChannelConfig) -> Result<Attestation, Unbelievable> {
    let roots = BlockRoots::decode(signed.block_roots.clone())?;
    if roots.channel_id != config.channel_id() {
        return Err(Unbelievable::OtherChannel(shortened(&roots.channel_id)));
    }
    let identity = peer_identity(&signed.identity, config)?;
    identity.verify(&block_roots::signing_input(signed), &signed.signature)?;
    Ok(Attestation {
        msp_id: identity.msp_id().to_owned(),
        identity: *identity.id(),
        number: roots.number,
        roots: signed.block_roots.clone(),
    })
}

fn signing_input(status: &[u8]) -> Vec<u8> {
    [PURPOSE, status].concat()
}

/// A valid identity of role peer, of an organization that has peers on the channel.
fn peer_identity(serialized: &[u8], config: &ChannelConfig) -> Result<Arc<Identity>, Unbelievable> {
    let identity = config.msps().identity(serialized)?;
    let organizations = config.application().map_or(&[][..], |application| &application.organizations);
    let is_member = organizations.iter().any(|organization| organization.msp_id == identity.msp_id());
    match is_member && identity.role() == Some(Role::Peer) {
        true => Ok(identity),
        false => Err(Unbelievable::NoPeer(identity.certificate().subject_text().to_owned())),
    }
}

/// The host of `host:port`.
pub(super) fn host_of(endpoint: &str) -> Option<&str> {
    let (host, port) = endpoint.rsplit_once(':')?;
    let is_host =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    (endpoint.len() <= NAME_BYTES_MAX && is_host && is_port).then_some(host)
}

fn within(what: &'static str, found: usize, max: usize) -> Result<(), Unbelievable> {
    match found <= max {
        true => Ok(()),
        false => Err(Unbelievable::TooMuch { what, found, max }),
    }
}

/// For a log: others choose how long it is.
fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(64)].to_owned()
}
