//! A transaction that stage one refuses: the code, and what `why` prints.

use ripstop_ledger::Verdict;
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::ripstop::v1::Refusal;

/// The code and the reason of one refusal.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: TxValidationCode,
    pub(super) text: String,
    namespace: String,
    key: String,
    rule: String,
    signed_by: Vec<String>,
}

impl Refused {
    pub(super) fn new(code: TxValidationCode, text: impl ToString) -> Self {
        Self {
            code,
            text: text.to_string(),
            namespace: String::new(),
            key: String::new(),
            rule: String::new(),
            signed_by: Vec::new(),
        }
    }

    /// A rule that the endorsers did not satisfy; `signed_by` names the MSPs whose
    /// members did sign validly.
    pub(super) fn by_rule(text: impl ToString, rule: &str, signed_by: Vec<String>) -> Self {
        let refused = Self::new(TxValidationCode::EndorsementPolicyFailure, text);
        Self { rule: rule.to_owned(), signed_by, ..refused }
    }

    /// Says where the rule applied. The key of a collection is a hash, written in hex.
    pub(super) fn at(mut self, namespace: &str, collection: Option<&str>, key: &[u8]) -> Self {
        match collection {
            None => {
                self.namespace = namespace.to_owned();
                self.key = String::from_utf8_lossy(key).into_owned();
            }
            Some(collection) => {
                self.namespace = format!("{namespace}/{collection}");
                self.key = hex::encode(key);
            }
        }
        self
    }

    pub(super) fn into_verdict(self, tx_index: usize) -> Verdict {
        let reason = Refusal {
            // Blocks hold far fewer envelopes than 2^32: their bytes are limited.
            tx_index: u32::try_from(tx_index).unwrap_or(u32::MAX),
            text: self.text,
            namespace: self.namespace,
            key: self.key,
            rule: self.rule,
            signed_by: self.signed_by,
        };
        Verdict { code: self.code, reason: Some(reason) }
    }
}
