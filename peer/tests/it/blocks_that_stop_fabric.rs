//! Blocks of ordinary transactions at which every Fabric 3.1.5 peer waits for ever or panics
//! while it looks for earlier changes of a key's policy in the block (`core/common/validation/
//! statebased/vpmanagerimpl.go`). Here a transaction that was refused before its policies were
//! looked at is no reason to wait or to refuse: the later writer is judged for itself.

use std::sync::Arc;

use bytes::Bytes;
use ripstop_peer::channel::Channel;
use ripstop_peer::committer::commit_next;
use ripstop_peer::deliver_client::Tip;
use ripstop_proto::kvrwset::{KvMetadataEntry, KvMetadataWrite};
use ripstop_proto::protos::TxValidationCode as Code;
use ripstop_proto::read_write_set::NamespaceSet;

use crate::blocks::{self, Definition, define};
use crate::organizations::Organizations;
use crate::transactions::{Draft, writes};

struct Setting {
    organizations: Organizations,
    channel: Arc<Channel>,
}

impl Setting {
    /// A channel where either organization may write to `open`, and `used` is a transaction's
    /// nonce already.
    fn new() -> Self {
        let organizations = Organizations::new();
        let channel = organizations.channel();
        let policy = "OR('Org1MSP.peer','Org2MSP.peer')";
        define(channel.ledger(), &organizations, &[Definition::new("open", policy)]);
        let setting = Self { organizations, channel };
        assert_eq!(setting.commit(vec![setting.writer(USED).entry()]), [Code::Valid]);
        setting
    }

    fn commit(&self, entries: Vec<Bytes>) -> Vec<Code> {
        let block = blocks::after(&Tip::of(self.channel.ledger()).unwrap(), entries);
        commit_next(&self.channel, "Org1MSP", block).unwrap().codes.clone()
    }

    fn draft(&self, nonce: u64, sets: Vec<NamespaceSet>) -> Draft<'_> {
        let Organizations { org1, .. } = &self.organizations;
        let mut draft = Draft::new(&org1.client, &[&org1.peer], nonce).sets(sets);
        draft.chaincode = "open".to_owned();
        draft
    }

    /// Writes the value of k.
    fn writer(&self, nonce: u64) -> Draft<'_> {
        self.draft(nonce, vec![writes("open", &[("k", "v")])])
    }

    /// Writes the metadata of k, and to `others` before.
    fn metadata_writer(&self, nonce: u64, others: &[&str]) -> Draft<'_> {
        let mut set = NamespaceSet { namespace: "open".to_owned(), ..Default::default() };
        let entry = KvMetadataEntry { name: "VALIDATION_PARAMETER".to_owned(), value: Bytes::new() };
        set.public.metadata_writes = vec![KvMetadataWrite { key: "k".to_owned(), entries: vec![entry] }];
        let others = others.iter().map(|namespace| writes(namespace, &[("x", "y")]));
        self.draft(nonce, others.chain([set]).collect())
    }
}

const USED: u64 = 1;

#[test]
fn a_writer_does_not_wait_for_one_that_was_refused_before_its_policies_were_looked_at() {
    let setting = Setting::new();
    let mut unsigned = setting.metadata_writer(3, &[]);
    unsigned.changes.envelope.push(Box::new(|envelope| envelope.signature = Bytes::from_static(b"\x30\x00")));
    // Namespaces are judged in ascending order, so this one fails before `open` is looked at.
    let mut undefined = setting.metadata_writer(4, &[]);
    undefined.chaincode = "absent".to_owned();
    let cases = [
        ("an id that was used", setting.metadata_writer(USED, &[]), Code::DuplicateTxid),
        ("a wrong signature", unsigned, Code::BadCreatorSignature),
        ("a chaincode without definition", undefined, Code::InvalidChaincode),
        ("a failure in an earlier namespace", setting.metadata_writer(5, &["elsewhere"]), Code::InvalidChaincode),
    ];
    for (nonce, (name, refused, code)) in (100..).zip(cases) {
        let codes = setting.commit(vec![refused.entry(), setting.writer(nonce).entry()]);
        assert_eq!(codes, [code, Code::Valid], "{name}");
    }
    let entry = setting.channel.ledger().state().get("open", "k").unwrap().unwrap();
    assert_eq!((entry.version.block_number, entry.version.tx_index), (6, 1));
}

#[test]
fn a_writer_does_not_wait_for_an_envelope_that_cannot_be_read() {
    let setting = Setting::new();
    let mut broken = setting.metadata_writer(2, &[]);
    broken.changes.response_payload.push(Box::new(|payload| payload.extension = Bytes::from_static(b"\xff")));
    let mut unreadable_sets = setting.metadata_writer(3, &[]);
    unreadable_sets.changes.action.push(Box::new(|action| action.results = Bytes::from_static(b"\xff")));
    let entries = [Bytes::from_static(b"\xff\xff"), Bytes::new(), broken.entry(), unreadable_sets.entry()];
    for (nonce, entry) in (100..).zip(entries) {
        let codes = setting.commit(vec![entry, setting.writer(nonce).entry()]);
        assert!(codes[0] != Code::Valid && codes[1] == Code::Valid, "{codes:?}");
    }
}

#[test]
fn a_transaction_without_actions_is_refused_and_harms_nobody() {
    let setting = Setting::new();
    let mut without = setting.metadata_writer(2, &[]);
    without.changes.transaction.push(Box::new(|transaction| transaction.actions.clear()));
    let codes = setting.commit(vec![without.entry(), setting.writer(100).entry()]);
    assert!(codes[0] != Code::Valid && codes[1] == Code::Valid, "{codes:?}");
    assert_eq!(setting.commit(vec![setting.writer(101).entry()]), [Code::Valid]);
}
