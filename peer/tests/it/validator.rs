//! Stage one on prepared blocks.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{Ledger, Verdict};
use ripstop_msp::SigningIdentity;
use ripstop_peer::deliver_client::Tip;
use ripstop_peer::validator::{Before, Finding, Halt, validate};
use ripstop_proto::common::HeaderType;
use ripstop_proto::protos::{
    ApplicationPolicy, ChaincodeEvent, ChaincodeHeaderExtension, CollectionConfig, CollectionConfigPackage,
    StaticCollectionConfig, TxValidationCode as Code, collection_config,
};
use ripstop_proto::read_write_set::NamespaceSet;

use crate::blocks::{self, Definition, define, signature_policy};
use crate::organizations::{Organizations, TestLedger};
use crate::transactions::{Change, Draft, writes};

pub(crate) const BOTH: &str = "AND('Org1MSP.peer','Org2MSP.peer')";
pub(crate) const EITHER: &str = "OR('Org1MSP.peer','Org2MSP.peer')";

pub(crate) struct Setting {
    pub(crate) organizations: Organizations,
    pub(crate) ledger: TestLedger,
}

impl Setting {
    /// `basic` needs both organizations, `open` either, `other` is like `basic`.
    pub(crate) fn new() -> Self {
        Self::with(Organizations::new())
    }

    fn with(organizations: Organizations) -> Self {
        let ledger = organizations.ledger();
        let mut collected = Definition::new("collected", BOTH);
        collected.collections = collections(&[("plain", None), ("loose", Some(signature_policy(EITHER)))]);
        let definitions = [
            Definition::new("basic", BOTH),
            Definition::new("open", EITHER),
            Definition::new("other", BOTH),
            Definition { parameter: Vec::new(), ..Definition::new("nopolicy", EITHER) },
            Definition { parameter: b"\xff\xff".to_vec(), ..Definition::new("badpolicy", EITHER) },
            collected,
        ];
        define(&ledger.ledger, &organizations, &definitions);
        Self { organizations, ledger }
    }

    pub(crate) fn draft(&self, nonce: u64) -> Draft<'_> {
        let Organizations { org1, org2, .. } = &self.organizations;
        Draft::new(&org1.client, &[&org1.peer, &org2.peer], nonce).sets([writes("basic", &[("k", "v")])])
    }

    pub(crate) fn endorsed_by<'a>(&'a self, endorsers: &[&'a SigningIdentity], sets: Vec<NamespaceSet>) -> Draft<'a> {
        Draft::new(&self.organizations.org1.client, endorsers, 7).sets(sets)
    }

    pub(crate) fn findings(&self, entries: Vec<Bytes>) -> Result<Vec<Finding>, Halt> {
        let ledger = &self.ledger.ledger;
        let block = blocks::after(&Tip::of(ledger).unwrap(), entries);
        let before =
            Before { config: self.ledger.config.clone(), state: ledger.state(), ledger: Arc::<Ledger>::clone(ledger) };
        validate(&block, &before)
    }

    pub(crate) fn verdict(&self, entry: Bytes) -> Verdict {
        self.findings(vec![entry]).unwrap().remove(0).verdict
    }

    pub(crate) fn code(&self, draft: &Draft<'_>) -> Code {
        self.verdict(draft.entry()).code
    }
}

fn collections(collections: &[(&str, Option<ApplicationPolicy>)]) -> CollectionConfigPackage {
    let config = collections
        .iter()
        .map(|(name, policy)| CollectionConfig {
            payload: Some(collection_config::Payload::StaticCollectionConfig(StaticCollectionConfig {
                name: (*name).to_owned(),
                endorsement_policy: policy.clone(),
                ..Default::default()
            })),
        })
        .collect();
    CollectionConfigPackage { config }
}

#[test]
fn a_transaction_endorsed_as_its_policy_demands_is_valid() {
    let setting = Setting::new();
    let draft = setting.draft(1);
    let finding = setting.findings(vec![draft.entry()]).unwrap().remove(0);
    assert_eq!((finding.verdict.code, finding.verdict.reason), (Code::Valid, None));
    assert_eq!(finding.tx_id, Some(draft.tx_id()));
    assert_eq!((finding.transaction_type, finding.chaincode.as_str()), ("ENDORSER_TRANSACTION", "basic:1.0"));
}

#[test]
fn ed25519_identities_sign_as_well() {
    let setting = Setting::with(Organizations::with_ed25519_peers());
    assert_eq!(setting.code(&setting.draft(1)), Code::Valid);
}

/// One thing wrong with a transaction, and its code.
struct Flaw {
    name: &'static str,
    code: Code,
    put_in: fn(&mut Draft<'_>),
}

pub(crate) fn change<T>(changes: &mut Vec<Change<T>>, change: impl Fn(&mut T) + 'static) {
    changes.push(Box::new(change));
}

/// In the order in which they are looked for. They can be put in together.
const FLAWS: &[Flaw] = &[
    Flaw {
        name: "payload",
        code: Code::BadPayload,
        put_in: |draft| change(&mut draft.changes.envelope, |envelope| envelope.payload = Bytes::from_static(b"\xff")),
    },
    Flaw {
        name: "epoch",
        code: Code::BadCommonHeader,
        put_in: |draft| change(&mut draft.changes.channel_header, |header| header.epoch = 1),
    },
    Flaw {
        name: "creator signature",
        code: Code::BadCreatorSignature,
        put_in: |draft| {
            change(&mut draft.changes.envelope, |envelope| envelope.signature = Bytes::from_static(b"\x30\x00"))
        },
    },
    Flaw {
        name: "tx id",
        code: Code::BadProposalTxid,
        put_in: |draft| change(&mut draft.changes.channel_header, |header| header.tx_id = "00".repeat(32)),
    },
    Flaw {
        name: "proposal hash",
        code: Code::InvalidEndorserTransaction,
        put_in: |draft| {
            change(&mut draft.changes.response_payload, |payload| payload.proposal_hash = Bytes::from_static(&[7; 32]));
        },
    },
    Flaw {
        name: "header extension",
        code: Code::BadHeaderExtension,
        put_in: |draft| {
            change(&mut draft.changes.channel_header, |header| header.extension = Bytes::from_static(b"\xff"));
        },
    },
    Flaw {
        name: "chaincode action",
        code: Code::BadResponsePayload,
        put_in: |draft| {
            change(&mut draft.changes.response_payload, |payload| payload.extension = Bytes::from_static(b"\xff"));
        },
    },
    Flaw {
        name: "read and write sets",
        code: Code::BadRwset,
        put_in: |draft| change(&mut draft.changes.action, |action| action.results = Bytes::from_static(b"\xff")),
    },
    Flaw {
        name: "no chaincode id",
        code: Code::InvalidOtherReason,
        put_in: |draft| change(&mut draft.changes.action, |action| action.chaincode_id = None),
    },
    Flaw {
        name: "another chaincode's event",
        code: Code::InvalidOtherReason,
        put_in: |draft| {
            change(&mut draft.changes.action, |action| {
                let event = ChaincodeEvent { chaincode_id: "other".into(), ..Default::default() };
                action.events = event.encode_to_vec().into();
            });
        },
    },
    Flaw {
        name: "a namespace twice",
        code: Code::IllegalWriteset,
        put_in: |draft| {
            let first = draft.sets.namespaces[0].clone();
            draft.sets.namespaces.push(first);
        },
    },
    Flaw {
        name: "endorsement signature",
        code: Code::EndorsementPolicyFailure,
        put_in: |draft| {
            change(&mut draft.changes.endorsements, |endorsements| {
                endorsements[0].signature = endorsements[1].signature.clone();
            });
        },
    },
];

#[test]
fn each_flaw_has_its_code() {
    let setting = Setting::new();
    for flaw in FLAWS {
        let mut draft = setting.draft(1);
        (flaw.put_in)(&mut draft);
        let verdict = setting.verdict(draft.entry());
        assert_eq!(verdict.code, flaw.code, "{}", flaw.name);
        assert!(!verdict.reason.unwrap().text.is_empty(), "{}", flaw.name);
    }
}

#[test]
fn of_several_flaws_the_first_in_order_decides() {
    let setting = Setting::new();
    for first in 0..FLAWS.len() {
        let mut draft = setting.draft(1);
        FLAWS[first..].iter().for_each(|flaw| (flaw.put_in)(&mut draft));
        assert_eq!(setting.code(&draft), FLAWS[first].code, "{}", FLAWS[first].name);
    }
}

#[test]
fn bytes_that_are_no_envelope_are_invalid_for_another_reason() {
    let setting = Setting::new();
    assert_eq!(setting.verdict(Bytes::from_static(b"\xff\xff")).code, Code::InvalidOtherReason);
    assert_eq!(setting.verdict(Bytes::new()).code, Code::BadCommonHeader);
}

#[test]
fn every_broken_header_is_a_bad_common_header() {
    let setting = Setting::new();
    let broken: [fn(&mut Draft<'_>); 6] = [
        |draft| change(&mut draft.changes.payload, |payload| payload.header = None),
        |draft| {
            change(&mut draft.changes.payload, |payload| {
                payload.header.as_mut().unwrap().channel_header = Bytes::from_static(b"\xff");
            });
        },
        |draft| {
            change(&mut draft.changes.payload, |payload| {
                payload.header.as_mut().unwrap().signature_header = Bytes::from_static(b"\xff");
            });
        },
        |draft| change(&mut draft.changes.channel_header, |header| header.r#type = HeaderType::Message as i32),
        |draft| change(&mut draft.changes.channel_header, |header| header.r#type = 77),
        |draft| draft.nonce.clear(),
    ];
    for (index, put_in) in broken.iter().enumerate() {
        let mut draft = setting.draft(1);
        put_in(&mut draft);
        assert_eq!(setting.code(&draft), Code::BadCommonHeader, "{index}");
    }
}

#[test]
fn a_creator_of_another_channel_or_organization_has_no_signature_here() {
    let setting = Setting::new();
    let stranger = Organizations::new();
    let mut draft = setting.draft(1);
    draft.creator = &stranger.org1.client;
    assert_eq!(setting.code(&draft), Code::BadCreatorSignature);
    let mut draft = setting.draft(1);
    draft.channel_id = "otherchannel".into();
    assert_eq!(setting.code(&draft), Code::BadCreatorSignature);
}

#[test]
fn the_form_of_the_transaction_is_checked_before_its_id_is_looked_up() {
    let setting = Setting::new();
    let broken: [fn(&mut Draft<'_>); 5] = [
        |draft| change(&mut draft.changes.payload, |payload| payload.data = Bytes::new()),
        |draft| change(&mut draft.changes.transaction, |transaction| transaction.actions.clear()),
        |draft| {
            change(&mut draft.changes.transaction, |transaction| {
                let action = transaction.actions[0].clone();
                transaction.actions.push(action);
            });
        },
        |draft| change(&mut draft.changes.transaction, |transaction| transaction.actions[0].header = Bytes::new()),
        |draft| draft.proposal_payload = Bytes::new(),
    ];
    for (index, put_in) in broken.iter().enumerate() {
        let mut draft = setting.draft(1);
        put_in(&mut draft);
        assert_eq!(setting.code(&draft), Code::InvalidEndorserTransaction, "{index}");
    }
}

#[test]
fn a_tx_id_that_was_used_before_is_a_duplicate_even_if_it_was_invalid_then() {
    let setting = Setting::new();
    let mut first = setting.draft(1);
    first.changes.endorsements.push(Box::new(Vec::clear));
    let entry = first.entry();
    let refused = setting.verdict(entry.clone());
    assert_eq!(refused.code, Code::EndorsementPolicyFailure);
    let ledger = &setting.ledger.ledger;
    let block = blocks::after(&Tip::of(ledger).unwrap(), vec![entry]);
    let checked = ripstop_ledger::CheckedBlock { block, verdicts: vec![refused], private_writes: Vec::new() };
    ledger.commit(checked).unwrap();
    let verdict = setting.verdict(setting.draft(1).entry());
    assert_eq!(verdict.code, Code::DuplicateTxid);
    assert!(verdict.reason.unwrap().text.contains("transaction 0 of block 2"));
}

#[test]
fn copies_of_an_id_inside_the_block_are_left_to_the_ledger() {
    let setting = Setting::new();
    let entry = setting.draft(1).entry();
    let findings = setting.findings(vec![entry.clone(), entry]).unwrap();
    assert!(findings.iter().all(|finding| finding.verdict.code == Code::Valid));
}

#[test]
fn a_configuration_update_inside_a_block_is_unsupported() {
    let setting = Setting::new();
    let mut draft = setting.draft(1);
    change(&mut draft.changes.channel_header, |header| header.r#type = HeaderType::ConfigUpdate as i32);
    assert_eq!(setting.code(&draft), Code::UnsupportedTxPayload);
}

#[test]
fn a_new_configuration_stops_the_channel_and_an_empty_one_is_invalid() {
    let setting = Setting::new();
    let mut draft = setting.draft(1);
    change(&mut draft.changes.channel_header, |header| header.r#type = HeaderType::Config as i32);
    let halt = setting.findings(vec![setting.draft(2).entry(), draft.entry()]).unwrap_err();
    assert!(matches!(halt, Halt::ConfigUpdate { block_number: 2, tx_index: 1, .. }), "{halt}");
    change(&mut draft.changes.payload, |payload| payload.data = Bytes::new());
    assert_eq!(setting.code(&draft), Code::InvalidConfigTransaction);
}

#[test]
fn a_configuration_needs_its_creators_signature_too() {
    let setting = Setting::new();
    let mut draft = setting.draft(1);
    change(&mut draft.changes.channel_header, |header| header.r#type = HeaderType::Config as i32);
    change(&mut draft.changes.envelope, |envelope| envelope.signature = Bytes::new());
    assert_eq!(setting.code(&draft), Code::BadCreatorSignature);
}

#[test]
fn invoked_and_answering_chaincode_are_one_with_a_version() {
    let setting = Setting::new();
    let broken: [fn(&mut Draft<'_>); 3] = [
        |draft| change(&mut draft.changes.action, |action| action.chaincode_id.as_mut().unwrap().name = "open".into()),
        |draft| change(&mut draft.changes.action, |action| action.chaincode_id.as_mut().unwrap().version.clear()),
        |draft| draft.chaincode.clear(),
    ];
    for (index, put_in) in broken.iter().enumerate() {
        let mut draft = setting.draft(1);
        put_in(&mut draft);
        assert_eq!(setting.code(&draft), Code::InvalidChaincode, "{index}");
    }
    let mut draft = setting.draft(1);
    change(&mut draft.changes.channel_header, |header| {
        header.extension = ChaincodeHeaderExtension::default().encode_to_vec().into();
    });
    assert_eq!(setting.code(&draft), Code::InvalidOtherReason);
}

#[test]
fn a_chaincode_without_definition_is_invalid() {
    let setting = Setting::new();
    for name in ["nowhere", "nopolicy", "lscc", "qscc", "cscc"] {
        let mut draft = setting.draft(1).sets([]);
        draft.chaincode = name.to_owned();
        assert_eq!(setting.code(&draft), Code::InvalidChaincode, "{name}");
    }
}

#[test]
fn verdicts_stand_in_the_order_of_the_block() {
    let setting = Setting::new();
    let entries: Vec<Bytes> = (0..40)
        .map(|index| {
            let mut draft = setting.draft(index);
            if index % 3 == 1 {
                draft.changes.endorsements.push(Box::new(Vec::clear));
            }
            draft.entry()
        })
        .collect();
    let findings = setting.findings(entries).unwrap();
    for (index, finding) in findings.iter().enumerate() {
        let expected = if index % 3 == 1 { Code::EndorsementPolicyFailure } else { Code::Valid };
        assert_eq!(finding.verdict.code, expected, "{index}");
    }
}
