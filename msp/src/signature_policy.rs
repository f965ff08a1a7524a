//! Signature policies: which identities must have signed.
//!
//! Evaluation is Fabric's, and greedy. Each principal takes the first identity in signature order
//! that satisfies it and is still free; an `n out of` rule tries **all** its parts in order, also
//! when `n` are already satisfied, and every satisfied part keeps the identities it took. So
//! `AND(OR('A.member','B.member'),'B.member')` is not satisfied by one signature of A and one of B.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use ripstop_proto::common::signature_policy::Type;
use ripstop_proto::common::{self, SignaturePolicyEnvelope};

use crate::identity::Identity;
use crate::msp_set::MspSet;
use crate::principal::Principal;

mod satisfying_sets;

/// Rules may be nested this deep; the wire's own limit of 100 messages allows 49.
const DEPTH_MAX: usize = 64;

/// One signature, with what was signed.
#[derive(Debug, Clone)]
pub struct SignedBytes<'a> {
    /// The signer: `SerializedIdentity` bytes as received.
    pub identity: &'a [u8],
    /// The signed message, not its hash.
    pub message: Cow<'a, [u8]>,
    /// The signature.
    pub signature: &'a [u8],
}

/// A compiled policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignaturePolicy {
    rule: Rule,
    principals: Vec<Principal>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    SignedBy(usize),
    OutOf { needed: i32, parts: Vec<Rule> },
}

/// Why a policy cannot be evaluated at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// No rule, or a rule without a type.
    #[error("the signature policy has an empty rule")]
    Empty,
    /// A principal that is not there.
    #[error("identity index out of range, requested {index}, but identities length is {count}")]
    Index {
        /// The index.
        index: i32,
        /// How many principals there are.
        count: usize,
    },
    /// Too deep.
    #[error("the signature policy is nested more than {DEPTH_MAX} rules deep")]
    Depth,
    /// Written for a later evaluator. Only channel configurations check this.
    #[error("this evaluator only understands signature policies of version 0, but version was {0}")]
    Version(i32),
}

/// The signatures were not enough. A normal outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signature set did not satisfy policy: {policy} is needed, and valid signatures came from [{}]", signers.join(", "))]
pub struct PolicyFailure {
    /// The policy in the language of `policy_text`.
    pub policy: String,
    /// `MSP id (common name)` of everyone whose signature was good.
    pub signers: Vec<String>,
}

/// Checks signatures: the identities that can be read and whose signature is good, in order, each
/// once. An identity is remembered only after its signature was good, so a bad signature followed
/// by a good one of the same identity counts. Whether an identity is *valid* is asked by the
/// principals.
pub fn valid_identities(msps: &MspSet, signatures: &[SignedBytes<'_>]) -> Vec<Arc<Identity>> {
    let mut seen = HashSet::with_capacity(signatures.len());
    let mut identities: Vec<Arc<Identity>> = Vec::with_capacity(signatures.len());
    for signed in signatures {
        let Ok(identity) = msps.read(signed.identity) else { continue };
        if seen.contains(&identity) || identity.verify(&signed.message, signed.signature).is_err() {
            continue;
        }
        seen.insert(identity.clone());
        identities.push(identity);
    }
    identities
}

impl SignaturePolicy {
    /// Compiles a policy. The version is not looked at: Fabric checks it only for policies of the
    /// channel's configuration ([`SignaturePolicy::compile_version_0`]).
    pub fn compile(envelope: &SignaturePolicyEnvelope) -> Result<Self, CompileError> {
        let rule = envelope.rule.as_ref().ok_or(CompileError::Empty)?;
        let rule = compile_rule(rule, envelope.identities.len(), 0)?;
        let principals = envelope.identities.iter().map(Principal::parse).collect();
        Ok(Self { rule, principals })
    }

    /// As [`SignaturePolicy::compile`], for policies of a channel's configuration: version 0 only.
    pub fn compile_version_0(envelope: &SignaturePolicyEnvelope) -> Result<Self, CompileError> {
        if envelope.version != 0 {
            return Err(CompileError::Version(envelope.version));
        }
        Self::compile(envelope)
    }

    /// Checks the signatures and evaluates the policy over them.
    pub fn evaluate(&self, msps: &MspSet, signatures: &[SignedBytes<'_>]) -> Result<(), PolicyFailure> {
        self.evaluate_identities(&valid_identities(msps, signatures))
    }

    /// Evaluates the policy over identities whose signatures were checked, in signature order and
    /// without duplicates ([`valid_identities`]).
    pub fn evaluate_identities(&self, identities: &[Arc<Identity>]) -> Result<(), PolicyFailure> {
        let satisfies = |principal: usize, index: usize| self.principals[principal].is_satisfied_by(&identities[index]);
        if is_satisfied(&self.rule, &mut vec![false; identities.len()], &satisfies) {
            return Ok(());
        }
        let signer =
            |identity: &Arc<Identity>| format!("{} ({})", identity.msp_id(), identity.certificate().common_name());
        Err(PolicyFailure { policy: self.to_string(), signers: identities.iter().map(signer).collect() })
    }

    /// The principals, by the index that the rules use.
    pub fn principals(&self) -> &[Principal] {
        &self.principals
    }

    /// For planning: minimal sets of principals (as indices into [`SignaturePolicy::principals`],
    /// ascending) such that one signature for each, in that order, satisfies the policy; smallest
    /// first, at most 256. An index that appears twice stands for two different identities. Sets
    /// that greedy evaluation would refuse are left out. Empty when nothing can satisfy the policy,
    /// or when it has more than 100 places.
    pub fn satisfying_sets(&self) -> Vec<Vec<usize>> {
        satisfying_sets::of(self)
    }
}

impl std::fmt::Display for SignaturePolicy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_rule(&self.rule, &self.principals, formatter)
    }
}

fn compile_rule(rule: &common::SignaturePolicy, principal_count: usize, depth: usize) -> Result<Rule, CompileError> {
    if depth >= DEPTH_MAX {
        return Err(CompileError::Depth);
    }
    match rule.r#type.as_ref().ok_or(CompileError::Empty)? {
        Type::SignedBy(index) => usize::try_from(*index)
            .ok()
            .filter(|position| *position < principal_count)
            .map(Rule::SignedBy)
            .ok_or(CompileError::Index { index: *index, count: principal_count }),
        Type::NOutOf(out_of) => {
            let part = |part| compile_rule(part, principal_count, depth + 1);
            let parts = out_of.rules.iter().map(part).collect::<Result<_, _>>()?;
            Ok(Rule::OutOf { needed: out_of.n, parts })
        }
    }
}

/// The greedy rule. `used[i]` says that identity `i` was taken; `satisfies(principal, identity)`.
fn is_satisfied(rule: &Rule, used: &mut Vec<bool>, satisfies: &impl Fn(usize, usize) -> bool) -> bool {
    match rule {
        Rule::SignedBy(principal) => {
            let free = |index: &usize| !used[*index] && satisfies(*principal, *index);
            let taken = (0..used.len()).find(free);
            if let Some(index) = taken {
                used[index] = true;
            }
            taken.is_some()
        }
        Rule::OutOf { needed, parts } => {
            let mut met = 0i32;
            for part in parts {
                let mut attempt = used.clone();
                if is_satisfied(part, &mut attempt, satisfies) {
                    met += 1;
                    *used = attempt;
                }
            }
            met >= *needed
        }
    }
}

fn write_rule(rule: &Rule, principals: &[Principal], formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    let (needed, parts) = match rule {
        Rule::SignedBy(index) => return write!(formatter, "'{}'", principals[*index]),
        Rule::OutOf { needed, parts } => (*needed, parts),
    };
    match usize::try_from(needed) {
        _ if parts.is_empty() => return write!(formatter, "OutOf({needed})"),
        Ok(1) => formatter.write_str("OR(")?,
        Ok(needed) if needed == parts.len() => formatter.write_str("AND(")?,
        _ => write!(formatter, "OutOf({needed}, ")?,
    }
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            formatter.write_str(", ")?;
        }
        write_rule(part, principals, formatter)?;
    }
    formatter.write_str(")")
}

#[cfg(test)]
mod tests {
    use crate::policy_text;

    #[test]
    fn a_policy_is_shown_as_it_is_written() {
        for written in [
            "OR('A.peer')",
            "OR('A.peer', 'B.peer')",
            "AND('A.peer', 'B.peer')",
            "OutOf(2, 'A.peer', 'B.peer', OR('C.admin'))",
        ] {
            let shown = super::SignaturePolicy::compile(&policy_text::parse(written).unwrap()).unwrap().to_string();
            assert_eq!(shown, written);
        }
    }
}
