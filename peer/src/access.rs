//! Who may ask this peer for what.
//!
//! On a channel, a resource (`peer/Propose`, `event/Block`, …) has a policy of the
//! channel's configuration. Without a channel, the peer's own MSP decides: its
//! admins, its members. What is asked is not known here, only who asks, and when.
//! Sources: Fabric `core/aclmgmt`, `core/handlers/auth/filter`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_msp::{Certificate, Msp, SignedBytes};
use ripstop_proto::common::{ChannelHeader, MspPrincipal, MspRole, msp_principal, msp_role};
use ripstop_proto::msp::SerializedIdentity;
use tonic::Status;

use crate::channel::{Channel, Channels};

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Nothing says who may use the resource, so nobody may.
    #[error("Unmapped policy for {0}: this version has no such function")]
    Unmapped(String),
    /// The channel's policy for the resource is not met.
    #[error("failed evaluating policy on signed data: access to {resource} needs {policy}: {cause}")]
    Policy {
        /// What was asked for.
        resource: String,
        /// The policy's path in the configuration.
        policy: String,
        /// What the policy says.
        cause: String,
    },
    /// The identity is none of this peer's organization.
    #[error("the identity is not valid in this peer's organization {msp_id}: {cause}")]
    NotLocal {
        /// This peer's organization.
        msp_id: String,
        /// What its MSP says.
        cause: String,
    },
    /// The signature is wrong.
    #[error("the signature over the request is wrong: {0}")]
    Signature(String),
    /// The identity has not the role that is needed.
    #[error("this needs the role {role} of organization {msp_id}: {cause}")]
    Role {
        /// `admin` or `member`.
        role: &'static str,
        /// This peer's organization.
        msp_id: String,
        /// What its MSP says.
        cause: String,
    },
    /// The certificate is no longer valid.
    #[error("proposal client identity expired")]
    Expired,
    /// The timestamp is missing or not one.
    #[error("request unauthorized: the channel header has no usable timestamp")]
    NoTimestamp,
    /// The clocks differ too much.
    #[error(
        "request unauthorized due to incorrect timestamp: it is {difference_s} s off this peer's clock, \
         at most {window_s} s are allowed; set the clocks"
    )]
    OutsideTimeWindow {
        /// Distance between the timestamp and our clock, in seconds.
        difference_s: u64,
        /// What is allowed, in seconds.
        window_s: u64,
    },
}

/// Checks a signed request against the channel's policy for `resource`.
///
/// # Errors
/// Names the policy and why it is not met.
pub fn check_channel(config: &ChannelConfig, resource: &str, signed: &SignedBytes<'_>) -> Result<(), Denied> {
    let policy = config.acl(resource);
    if policy.is_empty() {
        return Err(Denied::Unmapped(resource.to_owned()));
    }
    config.check(&policy, std::slice::from_ref(signed)).map_err(|cause| Denied::Policy {
        resource: resource.to_owned(),
        policy: policy.clone(),
        cause: cause.to_string(),
    })
}

/// The channel whose policy for `resource` a signed request meets. An unknown channel is
/// refused in the same way, so that nobody learns which channels exist.
///
/// # Errors
/// INVALID_ARGUMENT when identity or channel are not named, PERMISSION_DENIED otherwise.
pub fn check_signed(
    channels: &Channels,
    channel_id: &str,
    resource: &str,
    signed: &SignedBytes<'_>,
) -> Result<Arc<Channel>, Status> {
    if signed.identity.is_empty() {
        return Err(Status::invalid_argument("no identity provided"));
    }
    if channel_id.is_empty() {
        return Err(Status::invalid_argument("no channel ID provided"));
    }
    let channel = channels
        .get(channel_id)
        .ok_or_else(|| Status::permission_denied(format!("access to {resource} on channel {channel_id} is denied")))?;
    check_channel(&channel.config(), resource, signed)
        .map_err(|denied| Status::permission_denied(denied.to_string()))?;
    Ok(channel)
}

/// Checks that an admin of this peer's organization signed.
///
/// # Errors
/// Says whether identity, signature or role is wrong.
pub fn check_local_admin(local: &Msp, signed: &SignedBytes<'_>) -> Result<(), Denied> {
    check_local(local, signed, msp_role::MspRoleType::Admin)
}

/// Checks that a member of this peer's organization signed.
///
/// # Errors
/// Says whether identity, signature or role is wrong.
pub fn check_local_member(local: &Msp, signed: &SignedBytes<'_>) -> Result<(), Denied> {
    check_local(local, signed, msp_role::MspRoleType::Member)
}

fn check_local(local: &Msp, signed: &SignedBytes<'_>, role: msp_role::MspRoleType) -> Result<(), Denied> {
    let msp_id = || local.id().to_owned();
    let not_local = |cause: String| Denied::NotLocal { msp_id: msp_id(), cause };
    let identity = local.identity(signed.identity).map_err(|error| not_local(error.to_string()))?;
    local.validate(&identity).map_err(|error| not_local(error.to_string()))?;
    let principal = MspPrincipal {
        principal_classification: msp_principal::Classification::Role as i32,
        principal: MspRole { msp_identifier: msp_id(), role: role as i32 }.encode_to_vec().into(),
    };
    local.satisfies(&identity, &principal).map_err(|error| Denied::Role {
        role: if role == msp_role::MspRoleType::Admin { "admin" } else { "member" },
        msp_id: msp_id(),
        cause: error.to_string(),
    })?;
    identity.verify(&signed.message, signed.signature).map_err(|error| Denied::Signature(error.to_string()))
}

/// When the certificate in a serialized identity expires, whoever issued it; none when it
/// does not or cannot be read, as in Fabric's `common/crypto.ExpiresAt`.
pub fn expires_at(serialized: &[u8]) -> Option<SystemTime> {
    let identity = SerializedIdentity::decode(serialized).ok()?;
    Certificate::from_pem(&identity.id_bytes).ok()?.expires_at()
}

/// Checks that a certificate has not expired at `now`.
///
/// # Errors
/// [`Denied::Expired`].
pub fn check_expiry(expires_at: Option<SystemTime>, now: SystemTime) -> Result<(), Denied> {
    match expires_at {
        Some(expiry) if expiry < now => Err(Denied::Expired),
        _ => Ok(()),
    }
}

/// Checks that the header's timestamp is within `window` of `now`, to either side.
///
/// # Errors
/// When there is no timestamp, or it is further away.
pub fn check_time_window(header: &ChannelHeader, now: SystemTime, window: Duration) -> Result<(), Denied> {
    let timestamp = header.timestamp.ok_or(Denied::NoTimestamp)?;
    let timestamp = SystemTime::try_from(timestamp).map_err(|_| Denied::NoTimestamp)?;
    let difference = match now.duration_since(timestamp) {
        Ok(past) => past,
        Err(future) => future.duration(),
    };
    if difference > window {
        return Err(Denied::OutsideTimeWindow { difference_s: difference.as_secs(), window_s: window.as_secs() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: i64, nanos: i32) -> ChannelHeader {
        ChannelHeader { timestamp: Some(prost_types::Timestamp { seconds, nanos }), ..ChannelHeader::default() }
    }

    #[test]
    fn a_timestamp_may_be_off_by_the_window_to_either_side() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let window = Duration::from_secs(60);
        for allowed in [940, 1000, 1060] {
            check_time_window(&at(allowed, 0), now, window).unwrap();
        }
        for (seconds, nanos) in [(939, 999_999_999), (1060, 1), (i64::MAX, 0), (i64::MIN, 0)] {
            assert!(check_time_window(&at(seconds, nanos), now, window).is_err(), "{seconds}");
        }
        assert!(matches!(check_time_window(&ChannelHeader::default(), now, window), Err(Denied::NoTimestamp)));
    }
}
