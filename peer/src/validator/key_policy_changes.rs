//! Keys whose own endorsement policy changes within a block.
//!
//! A key's policy is read from the state before the block. So whoever writes the key after
//! a transaction of the same block that sets or clears its policy was endorsed under a
//! policy that is no longer the key's, and is refused. What counts is that the earlier
//! transaction's endorsements were good for the namespace, not what becomes of it later:
//! that is known only after versions were compared. One that never got so far is passed over.
//! Source: Fabric `core/common/validation/statebased/vpmanagerimpl.go`.

use std::collections::HashMap;

use super::invocation::{Invocation, WrittenKey};
use super::refused::Refused;

/// The metadata writes of a block so far.
#[derive(Default)]
pub(super) struct KeyPolicyChanges {
    of_namespace: HashMap<String, HashMap<ChangedKey, usize>>,
}

/// Collection and key.
type ChangedKey = (Option<String>, Vec<u8>);

impl KeyPolicyChanges {
    /// Refuses a transaction that writes a changed key.
    pub(super) fn check(&self, namespace: &str, invocation: &Invocation) -> Result<(), Refused> {
        let Some(changed) = self.of_namespace.get(namespace) else { return Ok(()) };
        let earlier = |written: &WrittenKey<'_>| changed.get(&changed_key(written)).copied();
        let mut written = invocation.written_keys(namespace);
        match written.find_map(|written| earlier(&written).map(|tx_index| (written, tx_index))) {
            None => Ok(()),
            Some((written, tx_index)) => {
                let text = format!(
                    "transaction {tx_index} of this block writes the metadata of the key, so the policy to satisfy \
                     is not the one that it was endorsed under"
                );
                let refused = Refused::by_rule(text, "", Vec::new(), Vec::new());
                Err(refused.at(namespace, written.collection, written.key))
            }
        }
    }

    /// Adds the metadata writes of a transaction whose endorsements are good for the namespace.
    pub(super) fn add(&mut self, tx_index: usize, namespace: &str, invocation: &Invocation) {
        for written in invocation.metadata_keys(namespace) {
            let changed = self.of_namespace.entry(namespace.to_owned()).or_default();
            changed.entry(changed_key(&written)).or_insert(tx_index);
        }
    }
}

fn changed_key(written: &WrittenKey<'_>) -> ChangedKey {
    (written.collection.map(str::to_owned), written.key.to_vec())
}
