//! Where a channel's blocks can be had, and how they are asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_msp::{SigningError, SigningIdentity};
use ripstop_proto::common::{ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader};
use ripstop_proto::envelope;
use ripstop_proto::orderer::{SeekInfo, SeekNewest, SeekPosition, SeekSpecified, seek_info, seek_position};

/// An orderer's address and the certificate authorities its TLS certificate may be of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port` as the configuration advertises it.
    pub address: String,
    /// TLS root certificates of the orderer's organization, PEM.
    pub tls_roots_pem: Vec<Vec<u8>>,
}

/// The endpoints of every orderer organization of the channel.
pub fn endpoints(config: &ChannelConfig) -> Vec<Endpoint> {
    let organizations = config.orderer().map_or(&[][..], |orderer| &orderer.organizations).iter();
    organizations
        .flat_map(|organization| {
            organization
                .endpoints
                .iter()
                .map(|address| Endpoint { address: address.clone(), tls_roots_pem: organization.tls_roots_pem.clone() })
        })
        .collect()
}

/// A signed request for every block from `first_number` on, without end.
///
/// `tls_certificate_hash` is the SHA-256 of the client's TLS certificate (DER), which
/// an orderer compares when it asks clients for certificates.
///
/// # Errors
/// When the identity cannot sign.
pub fn seek_from(
    channel_id: &str,
    first_number: u64,
    identity: &SigningIdentity,
    tls_certificate_hash: [u8; 32],
    nonce: [u8; 24],
    now: SystemTime,
) -> Result<Envelope, SigningError> {
    let block = |number| Some(SeekPosition { r#type: Some(seek_position::Type::Specified(SeekSpecified { number })) });
    let seek = SeekInfo {
        start: block(first_number),
        stop: block(u64::MAX),
        behavior: seek_info::SeekBehavior::BlockUntilReady as i32,
        ..SeekInfo::default()
    };
    signed(channel_id, &seek, identity, tls_certificate_hash, nonce, now)
}

/// A signed request for header and signatures of the newest block, whatever the state of
/// the orderer's consensus. Arguments and errors as for [`seek_from`].
pub(super) fn seek_newest_header(
    channel_id: &str,
    identity: &SigningIdentity,
    tls_certificate_hash: [u8; 32],
    nonce: [u8; 24],
    now: SystemTime,
) -> Result<Envelope, SigningError> {
    let newest = Some(SeekPosition { r#type: Some(seek_position::Type::Newest(SeekNewest {})) });
    let seek = SeekInfo {
        start: newest,
        stop: newest,
        behavior: seek_info::SeekBehavior::FailIfNotReady as i32,
        error_response: seek_info::SeekErrorResponse::BestEffort as i32,
        content_type: seek_info::SeekContentType::HeaderWithSig as i32,
    };
    signed(channel_id, &seek, identity, tls_certificate_hash, nonce, now)
}

fn signed(
    channel_id: &str,
    seek: &SeekInfo,
    identity: &SigningIdentity,
    tls_certificate_hash: [u8; 32],
    nonce: [u8; 24],
    now: SystemTime,
) -> Result<Envelope, SigningError> {
    let channel_header = ChannelHeader {
        r#type: HeaderType::DeliverSeekInfo as i32,
        channel_id: channel_id.to_owned(),
        timestamp: Some(timestamp(now)),
        tls_cert_hash: tls_certificate_hash.to_vec().into(),
        ..ChannelHeader::default()
    };
    let signature_header = SignatureHeader { creator: identity.serialized().clone(), nonce: nonce.to_vec().into() };
    let payload = Payload {
        header: Some(Header {
            channel_header: channel_header.encode_to_vec().into(),
            signature_header: signature_header.encode_to_vec().into(),
        }),
        data: seek.encode_to_vec().into(),
    };
    let payload = payload.encode_to_vec();
    let signature = identity.sign(&payload)?;
    Ok(envelope::signed(payload.into(), signature.into()))
}

fn timestamp(now: SystemTime) -> prost_types::Timestamp {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}
