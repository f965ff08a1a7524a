//! Stage one of validation: is each transaction of a block well-formed, signed
//! and endorsed as the rules of its chaincodes demand?
//!
//! Everything is judged by the channel as it stood before the block: its
//! configuration, its definitions, its index of transactions. Only a change of a
//! key's own policy is looked for in the block itself. It deliberately does not
//! compare versions, nor look for copies of an id inside the block: that is the
//! ledger's, behind `Ledger::commit`.
//! Read `form` (checks that need no state), `invocation` (what was invoked and
//! what is written), `endorsement_rules` (who must have signed for it), then
//! `key_policy_changes` (what transactions of one block do to each other).

mod endorsement_rules;
mod endorsers;
mod form;
mod invocation;
mod key_policy_changes;
mod refused;

use std::sync::Arc;

use bytes::Bytes;
use rayon::prelude::*;
use ripstop_channel::ChannelConfig;
use ripstop_ledger::{Ledger, StateView, Verdict};
use ripstop_proto::common::{Block, HeaderType};
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::read_write_set::ReadWriteSet;

use endorsement_rules::{EndorsementRules, Rule};
use endorsers::Endorsers;
use invocation::Invocation;
use key_policy_changes::KeyPolicyChanges;
use refused::Refused;

use crate::lifecycle;

/// The channel as it stood before the block.
pub struct Before {
    /// Configuration in force.
    pub config: Arc<ChannelConfig>,
    /// The state after the previous block.
    pub state: StateView,
    /// Asked for transactions that are already in it.
    pub ledger: Arc<Ledger>,
}

/// Stage one's finding about one envelope of a block.
#[derive(Debug)]
pub struct Finding {
    /// VALID, or the code and the reason.
    pub verdict: Verdict,
    /// The transaction's id, where one could be read.
    pub tx_id: Option<String>,
    /// `ENDORSER_TRANSACTION` or another header type's name, for the metrics.
    pub transaction_type: &'static str,
    /// The invoked chaincode as `name:version`; empty where none was invoked.
    pub chaincode: String,
    /// What a valid transaction did in `_lifecycle`: approvals are recomputed from it.
    pub lifecycle_call: Option<LifecycleCall>,
}

/// A transaction that invoked `_lifecycle`.
#[derive(Debug)]
pub struct LifecycleCall {
    /// Function and arguments: the transaction's `chaincode_proposal_payload`.
    pub proposal_payload: Bytes,
    /// What it read and wrote.
    pub read_write_set: ReadWriteSet,
}

/// Why no verdict can be given, so that the channel has to stop at this block.
/// None of these is ever written as a validation code.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// The block changes the configuration.
    #[error(
        "transaction {tx_index} of block {block_number} changes the configuration of channel {channel_id}, \
         which this version cannot apply; the channel stops at height {block_number}"
    )]
    ConfigUpdate {
        /// The channel.
        channel_id: String,
        /// The block.
        block_number: u64,
        /// The envelope in the block.
        tx_index: usize,
    },
    /// A definition names a validation plugin that this peer does not have.
    #[error(
        "chaincode {namespace} is defined with validation plugin {plugin:?}, and this peer only has \"vscc\"; \
         the channel stops here, since peers with the plugin may judge otherwise"
    )]
    UnknownPlugin {
        /// The chaincode.
        namespace: String,
        /// Its plugin.
        plugin: String,
    },
    /// The ledger could not answer.
    #[error("the ledger could not be read during validation: {0}")]
    Ledger(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Halt {
    fn ledger(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Ledger(Box::new(error))
    }
}

/// Why one transaction gets no VALID: an ordinary refusal, or a reason to stop.
#[derive(Debug)]
enum Stop {
    Refused(Refused),
    Halt(Halt),
}

impl Stop {
    fn at(self, namespace: &str, collection: Option<&str>, key: &[u8]) -> Self {
        match self {
            Self::Refused(refused) => Self::Refused(refused.at(namespace, collection, key)),
            halt => halt,
        }
    }
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

/// Judges every envelope of `block` by itself, in parallel on rayon's threads, then looks at
/// what they do to each other, and returns one finding per envelope in the block's order.
///
/// # Errors
/// The halt of the first transaction (in block order) that has one.
pub fn validate(block: &Block, before: &Before) -> Result<Vec<Finding>, Halt> {
    let walk = Walk {
        before,
        block_number: block.header.as_ref().map_or(0, |header| header.number),
        rules: EndorsementRules::new(&before.config, &before.state),
    };
    let entries = block.data.as_ref().map_or(&[][..], |data| &data.data);
    let judged: Vec<_> = entries.par_iter().enumerate().map(|(tx_index, entry)| walk.judge(tx_index, entry)).collect();
    let mut changes = KeyPolicyChanges::default();
    judged.into_iter().enumerate().map(|(tx_index, judged)| walk.find(tx_index, judged, &mut changes)).collect()
}

/// What can be said of an envelope by itself.
struct Judged {
    tx_id: Option<String>,
    transaction_type: &'static str,
    outcome: Result<Endorsed, Stop>,
}

/// A well-formed transaction.
struct Endorsed {
    invocation: Invocation,
    proposal_payload: Bytes,
    /// The governed namespaces, ascending, each with whether the endorsers satisfy its
    /// rules; the first that they do not satisfy is the last one here.
    namespaces: Vec<(String, Result<(), Stop>)>,
}

/// One pass over a block.
struct Walk<'a> {
    before: &'a Before,
    block_number: u64,
    rules: EndorsementRules<'a>,
}

impl Walk<'_> {
    fn find(&self, tx_index: usize, judged: Judged, changes: &mut KeyPolicyChanges) -> Result<Finding, Halt> {
        let mut finding = Finding {
            verdict: Verdict::valid(),
            tx_id: judged.tx_id,
            transaction_type: judged.transaction_type,
            chaincode: String::new(),
            lifecycle_call: None,
        };
        let outcome = judged.outcome.and_then(|endorsed| conclude(tx_index, endorsed, changes, &mut finding));
        match outcome {
            Ok(()) => {}
            Err(Stop::Halt(halt)) => return Err(halt),
            Err(Stop::Refused(refused)) => {
                tracing::info!(
                    channel = self.before.config.channel_id(),
                    block = self.block_number,
                    tx_index,
                    tx_id = finding.tx_id.as_deref().unwrap_or(""),
                    code = refused.code.as_str_name(),
                    "refused: {}",
                    refused.reason.text
                );
                finding.verdict = refused.into_verdict();
            }
        }
        Ok(finding)
    }

    fn judge(&self, tx_index: usize, entry: &Bytes) -> Judged {
        match form::open(entry) {
            Err(refused) => Judged { tx_id: None, transaction_type: "UNKNOWN", outcome: Err(refused.into()) },
            Ok(envelope) => Judged {
                tx_id: Some(envelope.index_tx_id()),
                transaction_type: envelope.header_type().map_or("UNKNOWN", |header_type| header_type.as_str_name()),
                outcome: self.judge_envelope(tx_index, &envelope),
            },
        }
    }

    /// The checks in their order; the first failure decides.
    fn judge_envelope(&self, tx_index: usize, envelope: &OpenEnvelope) -> Result<Endorsed, Stop> {
        form::check_creator(envelope, &self.before.config)?;
        match envelope.header_type() {
            Some(HeaderType::EndorserTransaction) => self.judge_transaction(envelope),
            Some(HeaderType::Config) => Err(self.judge_config(tx_index, envelope)),
            _ => Err(Refused::new(
                TxValidationCode::UnsupportedTxPayload,
                "a configuration update stands in a block by itself; only the configuration that results from it may",
            )
            .into()),
        }
    }

    fn judge_transaction(&self, envelope: &OpenEnvelope) -> Result<Endorsed, Stop> {
        form::check_tx_id(envelope)?;
        let transaction = form::open_transaction(envelope)?;
        self.check_not_in_ledger(&envelope.channel_header.tx_id)?;
        let invocation = Invocation::open(envelope, &transaction)?;
        let endorsers = Endorsers::verify(&transaction, self.before.config.msps());
        let mut namespaces = Vec::new();
        for namespace in invocation.governed_namespaces() {
            let outcome = self.check_namespace(namespace, &invocation, &endorsers);
            let goes_on = outcome.is_ok();
            namespaces.push((namespace.to_owned(), outcome));
            if !goes_on {
                break;
            }
        }
        Ok(Endorsed { invocation, proposal_payload: transaction.proposal_payload_bytes, namespaces })
    }

    fn judge_config(&self, tx_index: usize, envelope: &OpenEnvelope) -> Stop {
        if envelope.payload.data.is_empty() {
            return Refused::new(
                TxValidationCode::InvalidConfigTransaction,
                "the configuration transaction holds no configuration",
            )
            .into();
        }
        Stop::Halt(Halt::ConfigUpdate {
            channel_id: self.before.config.channel_id().to_owned(),
            block_number: self.block_number,
            tx_index,
        })
    }

    fn check_not_in_ledger(&self, tx_id: &str) -> Result<(), Stop> {
        match self.before.ledger.transaction(tx_id).map_err(Halt::ledger)? {
            None => Ok(()),
            Some(earlier) => Err(Refused::new(
                TxValidationCode::DuplicateTxid,
                format!(
                    "transaction id {tx_id} was used before, by transaction {} of block {}",
                    earlier.tx_index, earlier.block_number
                ),
            )
            .into()),
        }
    }

    /// Asks for every key written in `namespace` which rule governs it, and whether
    /// the endorsers satisfy that rule. A rule is evaluated once per transaction.
    fn check_namespace(&self, namespace: &str, invocation: &Invocation, endorsers: &Endorsers) -> Result<(), Stop> {
        let rules = self.rules.of_namespace(namespace)?;
        let mut satisfied = Satisfied::default();
        for written in invocation.written_keys(namespace) {
            let rule = self.rules.rule_for(&rules, namespace, written);
            rule.and_then(|rule| Ok(self.check_rule(rule, endorsers, &mut satisfied)?))
                .map_err(|stop| stop.at(namespace, written.collection, written.key))?;
        }
        if satisfied.rules.is_empty() {
            self.check_rule(Arc::clone(&rules.chaincode), endorsers, &mut satisfied)
                .map_err(|refused| refused.at(namespace, None, &[]))?;
        }
        Ok(())
    }

    fn check_rule(&self, rule: Arc<Rule>, endorsers: &Endorsers, satisfied: &mut Satisfied) -> Result<(), Refused> {
        if satisfied.contains(&rule) {
            return Ok(());
        }
        rule.check(&self.before.config, endorsers)?;
        satisfied.rules.push(rule);
        Ok(())
    }
}

/// What an endorsed transaction comes to after those before it in the block.
fn conclude(
    tx_index: usize,
    endorsed: Endorsed,
    changes: &mut KeyPolicyChanges,
    finding: &mut Finding,
) -> Result<(), Stop> {
    let Endorsed { invocation, proposal_payload, namespaces } = endorsed;
    finding.chaincode = format!("{}:{}", invocation.chaincode_name, invocation.chaincode_version);
    for (namespace, outcome) in namespaces {
        changes.check(&namespace, &invocation)?;
        outcome?;
        changes.add(tx_index, &namespace, &invocation);
    }
    if invocation.chaincode_name == lifecycle::NAMESPACE {
        let read_write_set = invocation.read_write_set;
        finding.lifecycle_call = Some(LifecycleCall { proposal_payload, read_write_set });
    }
    Ok(())
}

/// The rules that a transaction is already known to satisfy in one namespace.
#[derive(Default)]
struct Satisfied {
    rules: Vec<Arc<Rule>>,
}

impl Satisfied {
    fn contains(&self, rule: &Arc<Rule>) -> bool {
        self.rules.iter().any(|known| Arc::ptr_eq(known, rule))
    }
}
