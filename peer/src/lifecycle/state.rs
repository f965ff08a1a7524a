//! The few ways lifecycle looks at state: public or in an organization's collection,
//! recorded by a transaction's simulator or only looked at.

use bytes::Bytes;
use ripstop_ledger::{Simulator, StateView};
use ripstop_proto::hash::sha256;

use super::{LifecycleError, NAMESPACE, implicit_collection};

/// Readable keys of `_lifecycle`.
pub(crate) trait State {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, LifecycleError>;
}

/// Keys that a transaction may also write.
pub(crate) trait WritableState: State {
    fn put(&mut self, key: &str, value: Bytes) -> Result<(), LifecycleError>;
    fn delete(&mut self, key: &str) -> Result<(), LifecycleError>;
}

/// A collection of which only SHA-256 hashes of values are seen.
pub(crate) trait HashedState {
    fn hash(&mut self, key: &str) -> Result<Option<[u8; 32]>, LifecycleError>;
}

/// Committed public state, nothing recorded.
pub(crate) struct CommittedState<'a>(pub(crate) &'a StateView);

/// Hashes of an organization's approvals, nothing recorded.
pub(crate) struct CommittedApprovals<'a> {
    view: &'a StateView,
    collection: String,
}

/// Public state through a transaction's simulator.
pub(crate) struct PublicState<'a>(pub(crate) &'a mut Simulator);

/// An organization's approvals through a transaction's simulator.
pub(crate) struct Approvals<'a> {
    simulator: &'a mut Simulator,
    collection: String,
}

impl<'a> CommittedApprovals<'a> {
    pub(crate) fn of(msp_id: &str, view: &'a StateView) -> Self {
        Self { view, collection: implicit_collection::name_of(msp_id) }
    }
}

impl<'a> Approvals<'a> {
    pub(crate) fn of(msp_id: &str, simulator: &'a mut Simulator) -> Self {
        Self { simulator, collection: implicit_collection::name_of(msp_id) }
    }
}

impl State for CommittedState<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, LifecycleError> {
        let found = self.0.get(NAMESPACE, key).map_err(ledger)?;
        Ok(found.map(|found| found.value))
    }
}

impl HashedState for CommittedApprovals<'_> {
    fn hash(&mut self, key: &str) -> Result<Option<[u8; 32]>, LifecycleError> {
        let key_hash = sha256(&[key.as_bytes()]);
        let found = self.view.hashed(NAMESPACE, &self.collection, &key_hash).map_err(ledger)?;
        Ok(found.and_then(|found| found.value[..].try_into().ok()))
    }
}

impl State for PublicState<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, LifecycleError> {
        self.0.get_state(NAMESPACE, key).map_err(ledger)
    }
}

impl WritableState for PublicState<'_> {
    fn put(&mut self, key: &str, value: Bytes) -> Result<(), LifecycleError> {
        self.0.put_state(NAMESPACE, key, value).map_err(ledger)
    }

    fn delete(&mut self, key: &str) -> Result<(), LifecycleError> {
        self.0.delete_state(NAMESPACE, key).map_err(ledger)
    }
}

impl State for Approvals<'_> {
    fn get(&mut self, key: &str) -> Result<Option<Bytes>, LifecycleError> {
        self.simulator.get_private(NAMESPACE, &self.collection, key).map_err(ledger)
    }
}

impl WritableState for Approvals<'_> {
    fn put(&mut self, key: &str, value: Bytes) -> Result<(), LifecycleError> {
        self.simulator.put_private(NAMESPACE, &self.collection, key, value).map_err(ledger)
    }

    fn delete(&mut self, key: &str) -> Result<(), LifecycleError> {
        self.simulator.delete_private(NAMESPACE, &self.collection, key).map_err(ledger)
    }
}

impl HashedState for Approvals<'_> {
    fn hash(&mut self, key: &str) -> Result<Option<[u8; 32]>, LifecycleError> {
        let found = self.simulator.private_hash(NAMESPACE, &self.collection, key).map_err(ledger)?;
        Ok(found.and_then(|found| found[..].try_into().ok()))
    }
}

pub(crate) fn ledger(error: impl std::fmt::Display) -> LifecycleError {
    LifecycleError::Ledger(error.to_string())
}
