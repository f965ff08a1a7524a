//! The recorded requests of the official Node SDK, and what it was given to make them.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use ripstop_client::{Bytes, Freshness, SignFailure, Signer};
use ripstop_proto::common::Envelope;
use ripstop_proto::msp::SerializedIdentity;
use serde_json::Value;

/// Stands where the SDK put a signature.
pub(crate) const SIGNATURE: &[u8] = b"signature";

pub(crate) struct Vectors(Value);

impl Vectors {
    pub(crate) fn load() -> Self {
        Self(serde_json::from_str(include_str!("../../testdata/golden.json")).unwrap())
    }

    /// The bytes of the `position`th request.
    pub(crate) fn request(&self, position: usize, method: &str) -> Bytes {
        let call = &self.0["calls"][position];
        assert_eq!(call["method"], format!("/gateway.Gateway/{method}"));
        bytes(&call["request"])
    }

    pub(crate) fn transaction_id(&self) -> &str {
        self.0["endorse"]["transactionId"].as_str().unwrap()
    }

    /// What the recorded gateway answered to the first proposal.
    pub(crate) fn prepared_transaction(&self) -> Envelope {
        Envelope::decode(bytes(&self.0["endorse"]["preparedEnvelope"])).unwrap()
    }

    /// The identity of the recording, which signs everything the same way.
    pub(crate) fn identity(&self) -> RecordedIdentity {
        let meta = &self.0["meta"];
        let identity = SerializedIdentity {
            mspid: meta["mspId"].as_str().unwrap().to_owned(),
            id_bytes: Bytes::from(meta["credentialsUtf8"].as_str().unwrap().to_owned()),
        };
        RecordedIdentity(identity.encode_to_vec().into())
    }

    /// The clock and the nonces of the recording; the first nonce is the `from`th.
    pub(crate) fn freshness(&self, from: u8) -> RecordedFreshness {
        let milliseconds = self.0["meta"]["fixedTimeMs"].as_u64().unwrap();
        RecordedFreshness { now: UNIX_EPOCH + Duration::from_millis(milliseconds), next: AtomicU8::new(from) }
    }
}

fn bytes(hex_text: &Value) -> Bytes {
    hex::decode(hex_text.as_str().unwrap()).unwrap().into()
}

pub(crate) struct RecordedIdentity(Bytes);

impl Signer for RecordedIdentity {
    fn serialized(&self) -> &Bytes {
        &self.0
    }

    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, SignFailure> {
        Ok(SIGNATURE.to_vec())
    }
}

pub(crate) struct RecordedFreshness {
    now: SystemTime,
    next: AtomicU8,
}

impl Freshness for RecordedFreshness {
    /// Byte i of nonce n is 16 n + i.
    fn nonce(&self) -> [u8; 24] {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        std::array::from_fn(|i| n.wrapping_mul(16).wrapping_add(i as u8))
    }

    fn now(&self) -> SystemTime {
        self.now
    }
}
