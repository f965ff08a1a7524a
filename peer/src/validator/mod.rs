//! Stage one of validation: is each transaction of a block well-formed, signed
//! and endorsed as the rules of its chaincodes demand?
//!
//! Everything is judged by the channel as it stood before the block: its
//! configuration, its definitions, its index of transactions. It deliberately
//! does not compare versions, nor look for copies of an id inside the block:
//! that is the ledger's, behind `Ledger::commit`.
//! Read `form` (checks that need no state), `invocation` (what was invoked and
//! what is written), then `endorsement_rules` (who must have signed for it).

mod endorsement_rules;
mod endorsers;
mod form;
mod invocation;
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

/// Judges every envelope of `block`, in parallel on rayon's threads, and returns
/// one finding per envelope in the block's order.
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
    let findings: Vec<_> = entries.par_iter().enumerate().map(|(tx_index, entry)| walk.find(tx_index, entry)).collect();
    findings.into_iter().collect()
}

/// One pass over a block.
struct Walk<'a> {
    before: &'a Before,
    block_number: u64,
    rules: EndorsementRules<'a>,
}

impl Walk<'_> {
    fn find(&self, tx_index: usize, entry: &Bytes) -> Result<Finding, Halt> {
        let mut finding = Finding {
            verdict: Verdict::valid(),
            tx_id: None,
            transaction_type: "UNKNOWN",
            chaincode: String::new(),
            lifecycle_call: None,
        };
        match self.judge(tx_index, entry, &mut finding) {
            Ok(()) => Ok(finding),
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
                Ok(finding)
            }
            Err(Stop::Halt(halt)) => Err(halt),
        }
    }

    /// The checks in their order; the first failure decides.
    fn judge(&self, tx_index: usize, entry: &Bytes, finding: &mut Finding) -> Result<(), Stop> {
        let envelope = form::open(entry)?;
        finding.tx_id = Some(envelope.index_tx_id());
        finding.transaction_type = envelope.header_type().map_or("UNKNOWN", |header_type| header_type.as_str_name());
        form::check_creator(&envelope, &self.before.config)?;
        match envelope.header_type() {
            Some(HeaderType::EndorserTransaction) => self.judge_transaction(&envelope, finding),
            Some(HeaderType::Config) => Err(self.judge_config(tx_index, &envelope)),
            _ => Err(Refused::new(
                TxValidationCode::UnsupportedTxPayload,
                "a configuration update stands in a block by itself; only the configuration that results from it may",
            )
            .into()),
        }
    }

    fn judge_transaction(&self, envelope: &OpenEnvelope, finding: &mut Finding) -> Result<(), Stop> {
        form::check_tx_id(envelope)?;
        let transaction = form::open_transaction(envelope)?;
        self.check_not_in_ledger(&envelope.channel_header.tx_id)?;
        let invocation = Invocation::open(envelope, &transaction)?;
        finding.chaincode = format!("{}:{}", invocation.chaincode_name, invocation.chaincode_version);
        let endorsers = Endorsers::verify(&transaction, self.before.config.msps());
        for namespace in invocation.governed_namespaces() {
            self.check_namespace(namespace, &invocation, &endorsers)?;
        }
        if invocation.chaincode_name == lifecycle::NAMESPACE {
            finding.lifecycle_call = Some(LifecycleCall {
                proposal_payload: transaction.proposal_payload_bytes,
                read_write_set: invocation.read_write_set,
            });
        }
        Ok(())
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
            rules
                .rule_for(namespace, written.collection, written.key)
                .and_then(|rule| self.check_rule(rule, endorsers, &mut satisfied))
                .map_err(|refused| refused.at(namespace, written.collection, written.key))?;
        }
        if satisfied.rules.is_empty() {
            self.check_rule(&rules.chaincode, endorsers, &mut satisfied)
                .map_err(|refused| refused.at(namespace, None, &[]))?;
        }
        Ok(())
    }

    fn check_rule<'r>(
        &self,
        rule: &'r Rule,
        endorsers: &Endorsers,
        satisfied: &mut Satisfied<'r>,
    ) -> Result<(), Refused> {
        if satisfied.contains(rule) {
            return Ok(());
        }
        rule.check(&self.before.config, endorsers)?;
        satisfied.rules.push(rule);
        Ok(())
    }
}

/// The rules that a transaction is already known to satisfy in one namespace.
#[derive(Default)]
struct Satisfied<'r> {
    rules: Vec<&'r Rule>,
}

impl Satisfied<'_> {
    fn contains(&self, rule: &Rule) -> bool {
        self.rules.iter().any(|known| std::ptr::eq(*known, rule))
    }
}
