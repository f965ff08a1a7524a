//! The MSPs of one channel, with a memory of the identities already checked.
//!
//! An identity costs a parse and a chain of signature checks (about 100 µs); a channel sees the same
//! few again and again. Only identities that an MSP could read are remembered, so an unknown MSP or
//! a broken certificate is asked about anew each time. A set never changes: a new channel
//! configuration makes a new set with an empty memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;
use ripstop_proto::common::MspPrincipal;

use crate::identity::{Identity, IdentityError};
use crate::msp::{Msp, decode};
use crate::principal::{Principal, PrincipalError};

/// Identities per generation; two generations are kept.
const GENERATION_COUNT_MAX: usize = 2048;
/// Longer serialized identities are checked each time rather than kept.
const REMEMBERED_BYTES_MAX: usize = 16 * 1024;

/// A channel's MSPs by id.
pub struct MspSet {
    msps: BTreeMap<String, Msp>,
    remembered: RwLock<Generations>,
}

/// A bounded memory: when the young generation is full it becomes the old one, and what is asked for
/// again moves back to the young one.
#[derive(Default)]
struct Generations {
    young: HashMap<Box<[u8]>, Arc<Identity>>,
    old: HashMap<Box<[u8]>, Arc<Identity>>,
}

impl MspSet {
    /// A set of MSPs. Of two with one id the later one stays, as in Fabric; that a channel defines
    /// no id twice with different contents is for the channel's configuration to check.
    pub fn new(msps: Vec<Msp>) -> Self {
        let msps = msps.into_iter().map(|msp| (msp.id().to_owned(), msp)).collect();
        Self { msps, remembered: RwLock::default() }
    }

    /// The identity behind `SerializedIdentity` bytes, read **and** validated.
    pub fn identity(&self, serialized: &[u8]) -> Result<Arc<Identity>, IdentityError> {
        let identity = self.read(serialized)?;
        match &identity.validity {
            Ok(()) => Ok(identity),
            Err(cause) => Err(identity.invalid(cause.clone())),
        }
    }

    /// The identity behind `SerializedIdentity` bytes, read but perhaps not valid: what Fabric calls
    /// deserialized. Policies are evaluated over these.
    pub fn read(&self, serialized: &[u8]) -> Result<Arc<Identity>, IdentityError> {
        if let Some(found) = self.recall(serialized) {
            return Ok(found);
        }
        let decoded = decode(serialized)?;
        let msp = self.msps.get(&decoded.mspid).ok_or_else(|| self.unknown(&decoded.mspid))?;
        let identity = Arc::new(msp.identity_from_pem(&decoded.id_bytes)?);
        if serialized.len() <= REMEMBERED_BYTES_MAX {
            self.remembered.write().insert(serialized, identity.clone());
        }
        Ok(identity)
    }

    fn recall(&self, serialized: &[u8]) -> Option<Arc<Identity>> {
        let remembered = self.remembered.read();
        if let Some(found) = remembered.young.get(serialized) {
            return Some(found.clone());
        }
        let found = remembered.old.get(serialized)?.clone();
        drop(remembered);
        self.remembered.write().insert(serialized, found.clone());
        Some(found)
    }

    fn unknown(&self, msp_id: &str) -> IdentityError {
        let known: Vec<&str> = self.msp_ids().collect();
        IdentityError::UnknownMsp { msp_id: msp_id.to_owned(), known: known.join(", ") }
    }

    /// One MSP.
    pub fn msp(&self, msp_id: &str) -> Option<&Msp> {
        self.msps.get(msp_id)
    }

    /// All of them, in order of their ids.
    pub fn msps(&self) -> impl Iterator<Item = &Msp> {
        self.msps.values()
    }

    /// The ids in order.
    pub fn msp_ids(&self) -> impl Iterator<Item = &str> {
        self.msps.keys().map(String::as_str)
    }

    /// Whether an identity of this set satisfies a principal.
    pub fn satisfies(&self, identity: &Identity, principal: &MspPrincipal) -> Result<(), PrincipalError> {
        Principal::parse(principal).check(identity)
    }
}

impl Generations {
    fn insert(&mut self, serialized: &[u8], identity: Arc<Identity>) {
        if self.young.len() >= GENERATION_COUNT_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(serialized.into(), identity);
    }
}

impl std::fmt::Debug for MspSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MspSet").field("msps", &self.msps.keys()).finish_non_exhaustive()
    }
}
