//! What to do about a validation code, in one or two sentences.

use ripstop_proto::protos::TxValidationCode as Code;
use ripstop_proto::ripstop::v1::explanation::Reason;

/// The advice for a code and what is known of its reason.
pub(super) fn of(code: Code, reason: Option<&Reason>) -> String {
    match (code, reason) {
        (Code::EndorsementPolicyFailure, Some(Reason::Refusal(refusal))) if !refusal.missing.is_empty() => format!(
            "Have a peer of {} endorse the proposal, too, and submit that transaction. A client that names no \
             endorsing organizations gets all that the policy needs from the gateway.",
            refusal.missing.join(" and one of ")
        ),
        (Code::MvccReadConflict, Some(Reason::Conflict(conflict))) if conflict.within_block => WITHIN_BLOCK.to_owned(),
        _ => for_code(code).to_owned(),
    }
}

const WITHIN_BLOCK: &str = "Submit it again: both transactions read the key at the same time, and the other one came \
    first in the block. If the key is hot, send the calls that touch it one after the other, or write deltas under \
    keys of their own and add them up when reading.";

fn for_code(code: Code) -> &'static str {
    match code {
        Code::Valid => "It is valid: its writes are in the state.",
        Code::MvccReadConflict => {
            "Submit it again, so that it reads what is there now. If this happens often, less time between endorsing \
             and ordering helps (a shorter batch timeout, no waiting in the client), or not reading the key at all: \
             write deltas under keys of their own."
        }
        Code::PhantomReadConflict => {
            "Submit it again, so that it reads the range as it is now. A transaction that writes had better not read \
             ranges that others write to: read single keys, narrow the range, or keep a sum of it under a key."
        }
        Code::EndorsementPolicyFailure => {
            "Collect endorsements that satisfy the policy, of the right organizations and with the role it names, and \
             submit the transaction that carries them. A client that names no endorsing organizations gets all that \
             the policy needs from the gateway."
        }
        Code::DuplicateTxid => {
            "A transaction with this id was committed before, and that one counts: `ripstop tx` shows it. To do the \
             same again, make a new proposal with a nonce of its own; never send an envelope twice on purpose."
        }
        Code::BadProposalTxid => {
            "The client computes transaction ids wrongly: an id is the SHA-256 of nonce and creator, in hex. Take the \
             id that an official SDK computes, and sign the proposal after it is set."
        }
        Code::BadCreatorSignature => {
            "Sign with the key of the certificate in the transaction, and use a certificate that an organization of \
             this channel issued and that has not expired. After a network was made anew, old certificates are foreign."
        }
        Code::InvalidChaincode => {
            "Deploy the chaincode on this channel (`ripstop chaincode list` shows what is), and let contracts write \
             only to chaincodes that are deployed here."
        }
        Code::ExpiredChaincode | Code::ChaincodeVersionConflict => {
            "The chaincode was upgraded after the endorsement: endorse and submit it again."
        }
        Code::IllegalWriteset | Code::InvalidWriteset | Code::BadRwset => {
            "The read and write sets are not as an endorsing peer makes them: submit what the peers returned, unchanged."
        }
        Code::InvalidConfigTransaction | Code::UnsupportedTxPayload | Code::UnknownTxType => {
            "Only endorsed transactions and configurations made by the orderers belong into a block: send \
             configuration updates to an orderer as what they are."
        }
        Code::TargetChainNotFound => "Submit it to the channel that the transaction names.",
        Code::NotValidated => "It was not validated: start the peer again; if that does not help, its disk is damaged.",
        Code::NilEnvelope
        | Code::BadPayload
        | Code::BadCommonHeader
        | Code::InvalidEndorserTransaction
        | Code::MarshalTxError
        | Code::NilTxaction
        | Code::BadHeaderExtension
        | Code::BadChannelHeader
        | Code::BadResponsePayload
        | Code::InvalidOtherReason => {
            "The transaction is malformed, or was changed after it was endorsed: submit it as the gateway returned \
             it, signed and otherwise unchanged. A client that builds envelopes itself is best compared with an SDK."
        }
    }
}

#[cfg(test)]
mod tests {
    use ripstop_proto::ripstop::v1::{ReadConflict, Refusal};

    use super::*;

    #[test]
    fn every_code_has_advice_of_one_to_three_sentences() {
        let codes: Vec<Code> = (0..=255).filter_map(|number| Code::try_from(number).ok()).collect();
        assert!(codes.len() > 25);
        for code in codes {
            let advice = of(code, None);
            let sentences = advice.matches(". ").count() + 1;
            assert!(advice.ends_with('.') && sentences <= 3, "{}: {advice}", code.as_str_name());
        }
    }

    #[test]
    fn missing_organizations_are_named() {
        let missing = vec!["Org2MSP".to_owned(), "Org3MSP".to_owned()];
        let reason = Reason::Refusal(Refusal { missing, ..Refusal::default() });
        let advice = of(Code::EndorsementPolicyFailure, Some(&reason));
        assert!(advice.starts_with("Have a peer of Org2MSP and one of Org3MSP endorse"), "{advice}");
    }

    #[test]
    fn a_conflict_within_a_block_has_other_remedies_than_one_between_blocks() {
        let reason = |within_block| Reason::Conflict(ReadConflict { within_block, ..ReadConflict::default() });
        let within = of(Code::MvccReadConflict, Some(&reason(true)));
        assert_ne!(within, of(Code::MvccReadConflict, Some(&reason(false))));
        assert!(within.contains("one after the other"), "{within}");
    }
}
