//! A transaction that stage one refuses: the code, and what `why` prints.

use ripstop_ledger::{Refusal, Verdict};
use ripstop_proto::protos::TxValidationCode;

/// The code and the reason of one refusal.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: TxValidationCode,
    pub(super) reason: Box<Refusal>,
}

impl Refused {
    pub(super) fn new(code: TxValidationCode, text: impl ToString) -> Self {
        Self { code, reason: Box::new(Refusal { text: text.to_string(), ..Refusal::default() }) }
    }

    /// A rule that the endorsers did not satisfy; `signed_by` names the MSPs whose
    /// members did sign validly, `missing` those that still had to.
    pub(super) fn by_rule(text: impl ToString, rule: &str, signed_by: Vec<String>, missing: Vec<String>) -> Self {
        let mut refused = Self::new(TxValidationCode::EndorsementPolicyFailure, text);
        refused.reason.rule = rule.to_owned();
        refused.reason.signed_by = signed_by;
        refused.reason.missing = missing;
        refused
    }

    /// Says where the rule applied. The key of a collection is a hash, written in hex.
    pub(super) fn at(mut self, namespace: &str, collection: Option<&str>, key: &[u8]) -> Self {
        self.reason.namespace = namespace.to_owned();
        self.reason.collection = collection.unwrap_or_default().to_owned();
        self.reason.key = match collection {
            None => String::from_utf8_lossy(key).into_owned(),
            Some(_) => hex::encode(key),
        };
        self
    }

    /// The ledger adds the transaction's index.
    pub(super) fn into_verdict(self) -> Verdict {
        Verdict { code: self.code, reason: Some(*self.reason) }
    }
}
