//! Which package runs a chaincode on this peer, if any.
//!
//! A chaincode can be called here when its definition is committed, this peer's
//! organization approved that very definition, and the package it approved is installed.
//! The organization's choice is compared by hash, so a peer needs no clear values.
//! Source: Fabric `core/chaincode/lifecycle/{cache,endorsement_info}.go`.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use ripstop_ledger::{Simulator, StateView};

use super::definition::{Definition, committed};
use super::layout::{self, DEFINITIONS, LOCAL_PACKAGE, Record, SOURCES, approval_name, field_key, metadata_key};
use super::state::{CommittedApprovals, HashedState, PublicState, ledger};
use super::{LifecycleError, NAMESPACE};
use crate::chaincode::installed::InstalledPackages;

/// A chaincode that can be called on this peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocable {
    /// The committed sequence.
    pub sequence: i64,
    /// The committed version; stands in every endorsement.
    pub version: String,
    /// Whether a first call must be an init call.
    pub init_required: bool,
    /// Which installed package runs it.
    pub package_id: String,
}

/// A chaincode that is defined on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defined {
    /// Its name.
    pub name: String,
    /// The committed version.
    pub version: String,
    /// The committed sequence.
    pub sequence: i64,
    /// Whether it can be called on this peer.
    pub runs_here: bool,
}

/// Why a chaincode cannot be called on this peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotInvocable {
    /// Nothing is committed under this name.
    #[error("chaincode {0} not found")]
    NotFound(String),
    /// Committed by others only.
    #[error(
        "chaincode definition for '{chaincode}' at sequence {sequence} on channel '{channel_id}' has not yet been approved by this org"
    )]
    NotApproved {
        /// The name.
        chaincode: String,
        /// The committed sequence.
        sequence: i64,
        /// The channel.
        channel_id: String,
    },
    /// The approved package is not on this peer, or the approval names none.
    #[error("chaincode definition for '{0}' exists, but chaincode is not installed")]
    NotInstalled(String),
    /// A chaincode of the lifecycle before Fabric 2.0.
    #[error(
        "chaincode '{0}' was deployed with the legacy lifecycle, which this peer does not run: define it with _lifecycle"
    )]
    Legacy(String),
    /// State cannot be read or understood.
    #[error("{0}")]
    State(String),
}

/// Finds what runs a chaincode; keeps answers as long as height and packages stay.
pub struct Invocables {
    msp_id: String,
    installed: Arc<InstalledPackages>,
    known: RwLock<HashMap<(String, String), Known>>,
}

struct Known {
    height: u64,
    generation: u64,
    answer: Result<Arc<Invocable>, NotInvocable>,
}

impl Invocables {
    /// For a peer of organization `msp_id` with these packages.
    pub fn new(msp_id: String, installed: Arc<InstalledPackages>) -> Self {
        Self { msp_id, installed, known: RwLock::new(HashMap::new()) }
    }

    /// What runs `chaincode` for a transaction. The read of the committed sequence goes
    /// into the transaction's read set: a definition that changes before the transaction
    /// is committed makes it invalid.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn find(
        &self,
        channel_id: &str,
        chaincode: &str,
        simulator: &mut Simulator,
    ) -> Result<Arc<Invocable>, NotInvocable> {
        let state = |error: LifecycleError| NotInvocable::State(error.to_string());
        let sequence = layout::read_sequence(chaincode, &mut PublicState(simulator)).map_err(state)?;
        if sequence == 0 {
            let legacy = simulator.get_state("lscc", chaincode).map_err(|error| state(ledger(error)))?;
            let name = chaincode.to_owned();
            return Err(if legacy.is_some() { NotInvocable::Legacy(name) } else { NotInvocable::NotFound(name) });
        }
        self.at(channel_id, chaincode, simulator.state())
    }

    /// The same without a transaction.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn at(&self, channel_id: &str, chaincode: &str, view: &StateView) -> Result<Arc<Invocable>, NotInvocable> {
        let (height, generation) = (view.height(), self.installed.generation());
        let id = (channel_id.to_owned(), chaincode.to_owned());
        if let Some(known) = self.known.read().get(&id)
            && (known.height, known.generation) == (height, generation)
        {
            return known.answer.clone();
        }
        let answer = self.look_up(channel_id, chaincode, view).map(Arc::new);
        // Names that are not defined are not kept: a client can invent any number.
        if !matches!(answer, Err(NotInvocable::NotFound(_) | NotInvocable::State(_))) {
            self.known.write().insert(id, Known { height, generation, answer: answer.clone() });
        }
        answer
    }

    fn look_up(&self, channel_id: &str, chaincode: &str, view: &StateView) -> Result<Invocable, NotInvocable> {
        let state = |error: LifecycleError| NotInvocable::State(error.to_string());
        let definition =
            committed(view, chaincode).map_err(state)?.ok_or_else(|| NotInvocable::NotFound(chaincode.to_owned()))?;
        let mut approvals = CommittedApprovals::of(&self.msp_id, view);
        let mismatches = definition.approval_record(chaincode).mismatches(&mut approvals).map_err(state)?;
        if !mismatches.is_empty() {
            return Err(NotInvocable::NotApproved {
                chaincode: chaincode.to_owned(),
                sequence: definition.sequence,
                channel_id: channel_id.to_owned(),
            });
        }
        let package_id = self.package(chaincode, &definition, &mut approvals).map_err(state)?;
        Ok(Invocable {
            package_id: package_id.ok_or_else(|| NotInvocable::NotInstalled(chaincode.to_owned()))?,
            sequence: definition.sequence,
            version: definition.version,
            init_required: definition.init_required,
        })
    }

    fn package(
        &self,
        chaincode: &str,
        definition: &Definition,
        approvals: &mut CommittedApprovals<'_>,
    ) -> Result<Option<String>, LifecycleError> {
        let name = approval_name(chaincode, definition.sequence);
        if !Record::metadata_matches(SOURCES, &name, &LOCAL_PACKAGE, approvals)? {
            return Ok(None);
        }
        let hash = approvals.hash(&field_key(SOURCES, &name, "PackageID"))?;
        Ok(hash.and_then(|hash| self.installed.by_approval_hash(&hash)).map(|package| package.package_id))
    }

    /// The chaincodes that are defined on a channel, whether or not they run on this peer.
    ///
    /// # Errors
    /// When state cannot be read.
    pub fn defined(&self, channel_id: &str, view: &StateView) -> Result<Vec<Defined>, LifecycleError> {
        let prefix = metadata_key(DEFINITIONS, "");
        let mut found = Vec::new();
        for entry in view.range(NAMESPACE, &prefix, &format!("{prefix}\u{7f}")) {
            let (key, _) = entry.map_err(ledger)?;
            let name = key[prefix.len()..].to_owned();
            if let Ok(invocable) = self.at(channel_id, &name, view) {
                let (version, sequence) = (invocable.version.clone(), invocable.sequence);
                found.push(Defined { name, version, sequence, runs_here: true });
            } else if let Some(Definition { version, sequence, .. }) = committed(view, &name)? {
                found.push(Defined { name, version, sequence, runs_here: false });
            }
        }
        Ok(found)
    }

    /// The chaincodes of a channel that run on this peer: name, version, package id.
    ///
    /// # Errors
    /// When state cannot be read.
    pub fn all(&self, channel_id: &str, view: &StateView) -> Result<Vec<(String, Arc<Invocable>)>, LifecycleError> {
        let prefix = metadata_key(DEFINITIONS, "");
        let mut found = Vec::new();
        for entry in view.range(NAMESPACE, &prefix, &format!("{prefix}\u{7f}")) {
            let (key, _) = entry.map_err(ledger)?;
            let name = &key[prefix.len()..];
            if let Ok(invocable) = self.at(channel_id, name, view) {
                found.push((name.to_owned(), invocable));
            }
        }
        Ok(found)
    }
}
