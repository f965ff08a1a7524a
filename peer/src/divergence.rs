//! Whether this peer's state is the one that the channel's organizations agree on.
//!
//! The roots of a block are compared with those that other peers sign (`comparison`). A peer
//! that most organizations disagree with (`majority`) stops endorsing at once, then finds out
//! which key differs first by walking two state tries (`walk`), and stays so until its state is
//! built again. It goes on committing and serving blocks: what it holds is evidence.
//!
//! How peers reach each other is not known here: that is `exchange`. The rule and its reasons
//! stand in docs/decisions.

mod comparison;
mod majority;
mod walk;

use std::fmt;

use parking_lot::RwLock;
use ripstop_ledger::{Ledger, LedgerError};
use ripstop_proto::ripstop::v1::Divergence;

pub use self::comparison::{Attested, Comparison, Outcome};
pub use self::majority::{Judgement, Vote, judge};
pub(crate) use self::walk::{Tries, first_difference, node_of};

/// Gauge per channel: 1 while roots of other peers differ from this one's, unless most
/// organizations have this one's.
pub(crate) const ROOTS_DIFFER: &str = "ledger_roots_differ";
/// Gauge per channel: 1 while the peer does not endorse since its state differs.
pub(crate) const DIVERGED: &str = "endorser_state_diverged";

/// The finding about one channel of this peer, if there is one.
#[derive(Debug, Default)]
pub struct Finding(RwLock<Option<Divergence>>);

impl Finding {
    /// What the ledger has kept.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub(crate) fn of(ledger: &Ledger) -> Result<Self, LedgerError> {
        let finding = Self::default();
        if let Some(divergence) = ledger.divergence()? {
            tracing::error!(channel = ledger.channel_id(), "{}", Refusal(&divergence));
            finding.set(ledger.channel_id(), divergence);
        }
        tell(DIVERGED, ledger.channel_id(), finding.current().is_some());
        Ok(finding)
    }

    /// Why nothing is endorsed, where that is so.
    pub fn current(&self) -> Option<Divergence> {
        self.0.read().clone()
    }

    /// The text of the refusal to endorse, if there is a reason for one.
    pub fn refusal(&self) -> Option<String> {
        self.0.read().as_ref().map(|divergence| Refusal(divergence).to_string())
    }

    /// Endorsing stops as soon as this returns.
    pub(crate) fn set(&self, channel_id: &str, divergence: Divergence) {
        *self.0.write() = Some(divergence);
        tell(DIVERGED, channel_id, true);
    }
}

/// Sets a gauge of a channel.
pub(crate) fn tell(gauge: &'static str, channel_id: &str, is_so: bool) {
    metrics::gauge!(gauge, "channel" => channel_id.to_owned()).set(if is_so { 1.0 } else { 0.0 });
}

/// A divergence in words, for clients and logs.
pub(crate) struct Refusal<'a>(pub(crate) &'a Divergence);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Divergence { block_number, or_earlier, key } = self.0;
        let earlier = if *or_earlier { " or earlier" } else { "" };
        write!(
            f,
            "this peer does not endorse: since block {block_number}{earlier} its state is not the one that most \
             organizations have"
        )?;
        match key {
            Some(key) if key.key.is_empty() && key.namespace.is_empty() => {
                write!(f, "; an unknown key differs first, at path {}", hex::encode(&key.path))?;
            }
            Some(key) => {
                let text = match std::str::from_utf8(&key.key) {
                    Ok(text) => format!("{text:?}"),
                    Err(_) => format!("0x{}", hex::encode(&key.key)),
                };
                write!(f, "; key {text} of {:?} differs first", key.namespace)?;
            }
            None => {}
        }
        write!(
            f,
            "; have its state built again with `ripstop ledger rebuild`, or its channel joined anew where a block's \
             codes differ"
        )
    }
}

#[cfg(test)]
mod tests {
    use ripstop_proto::ripstop::v1::DivergedKey;

    use super::*;

    #[test]
    fn a_refusal_names_block_and_key() {
        let said = |key: Option<DivergedKey>| {
            Refusal(&Divergence { block_number: 7, or_earlier: key.is_none(), key }).to_string()
        };
        let key = |namespace: &str, key: &[u8]| DivergedKey {
            namespace: namespace.to_owned(),
            key: key.to_vec().into(),
            path: vec![0xab; 32].into(),
        };
        assert!(said(None).contains("since block 7 or earlier its state"));
        assert!(said(Some(key("basic", b"asset1"))).contains("since block 7 its state"));
        assert!(said(Some(key("basic", b"asset1"))).contains("key \"asset1\" of \"basic\" differs first"));
        assert!(said(Some(key("basic$$hc", &[0xff, 1]))).contains("key 0xff01 of \"basic$$hc\""));
        assert!(said(Some(key("", b""))).contains("at path abab"));
    }
}
