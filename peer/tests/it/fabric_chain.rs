//! What a real Fabric 3.1.5 network endorsed and committed, done again by our parts.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{CheckedBlock, Options, PrivateWrite, Verdict};
use ripstop_msp::{Msp, MspVersion, SignedBytes};
use ripstop_peer::chaincode::installed::InstalledPackages;
use ripstop_peer::channel::{Channel, Channels};
use ripstop_peer::lifecycle::approvals::private_writes;
use ripstop_peer::lifecycle::contract::LifecycleContract;
use ripstop_peer::lifecycle::implicit_collection;
use ripstop_peer::lifecycle::invocable::{Invocables, NotInvocable};
use ripstop_proto::block;
use ripstop_proto::common::Block;
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::msp::SerializedIdentity;
use ripstop_proto::protos::{
    ChaincodeAction, ChaincodeHeaderExtension, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload,
};
use ripstop_proto::read_write_set::ReadWriteSet;
use ripstop_proto::rwset::TxReadWriteSet;
use ripstop_proto::transaction::OpenTransaction;

use crate::block_file;

/// One transaction of the chain, opened.
struct Endorsed {
    envelope: OpenEnvelope,
    chaincode: String,
    input: ChaincodeInput,
    transaction: OpenTransaction,
    action: ChaincodeAction,
}

impl Endorsed {
    /// None for the genesis block's configuration.
    fn open(entry: &Bytes) -> Option<Self> {
        let envelope = OpenEnvelope::open(entry).unwrap();
        if envelope.channel_header.tx_id.is_empty() {
            return None;
        }
        let extension = ChaincodeHeaderExtension::decode(envelope.channel_header.extension.clone()).unwrap();
        let transaction = OpenTransaction::open(envelope.payload.data.clone()).unwrap();
        let payload = ChaincodeProposalPayload::decode(transaction.proposal_payload_bytes.clone()).unwrap();
        let spec = ChaincodeInvocationSpec::decode(payload.input).unwrap().chaincode_spec.unwrap();
        let action = transaction.chaincode_action().unwrap();
        let (chaincode, input) = (extension.chaincode_id.unwrap().name, spec.input.unwrap());
        Some(Self { envelope, chaincode, input, transaction, action })
    }

    fn endorsed_by(&self, msp_id: &str) -> bool {
        let endorser = |bytes: &Bytes| SerializedIdentity::decode(bytes.clone()).unwrap().mspid;
        self.transaction.endorsements.iter().any(|endorsement| endorser(&endorsement.endorser) == msp_id)
    }

    fn sets(&self) -> ReadWriteSet {
        ReadWriteSet::decode(self.action.results.clone()).unwrap()
    }
}

/// A peer of one organization of the chain, as far as endorsing `_lifecycle` needs it.
struct Replica {
    msp_id: &'static str,
    channel: Arc<Channel>,
    contract: LifecycleContract,
    invocables: Arc<Invocables>,
    endorsed_again: usize,
    _folder: tempfile::TempDir,
}

impl Replica {
    fn of(msp_id: &'static str, genesis: &Block) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let channels = Channels::open(folder.path().join("channels"), Options::in_memory(), Box::new(|_| {})).unwrap();
        let channels = Arc::new(channels);
        let channel = channels.join(genesis.clone()).unwrap();
        let config = channel.config().msps().msp(msp_id).unwrap().to_config();
        let local_msp = Arc::new(Msp::new(&config, MspVersion::V3_0).unwrap());
        let installed = Arc::new(InstalledPackages::open(folder.path().join("packages")).unwrap());
        let invocables = Arc::new(Invocables::new(msp_id.to_owned(), installed.clone()));
        let contract = LifecycleContract::new(local_msp, installed, invocables.clone(), channels);
        Self { msp_id, channel, contract, invocables, endorsed_again: 0, _folder: folder }
    }

    /// Endorses once more what this organization endorsed; everything must be equal.
    fn endorse_again(&mut self, endorsed: &Endorsed) {
        if endorsed.chaincode != "_lifecycle" || !endorsed.endorsed_by(self.msp_id) {
            return;
        }
        // The creator signed the envelope, not this proposal; who he is and that he can
        // sign is what access asks for.
        let signed = SignedBytes {
            identity: &endorsed.envelope.signature_header.creator,
            message: endorsed.envelope.envelope.payload[..].into(),
            signature: &endorsed.envelope.envelope.signature,
        };
        let (config, mut simulator) = (self.channel.config(), self.channel.ledger().simulator());
        let response = self.contract.invoke(&endorsed.input.args, &signed, Some((&*config, &mut simulator)));
        assert_eq!(Some(response), endorsed.action.response);
        let ours = simulator.finish().read_write_set;
        let theirs = TxReadWriteSet::decode(endorsed.action.results.clone()).unwrap();
        assert_eq!(ours.encode_to_vec(), endorsed.action.results, "ours {ours:?}, theirs {theirs:?}");
        self.endorsed_again += 1;
    }

    /// The read that every call of a chaincode leaves, also when it cannot run here.
    fn read_definition_again(&self, endorsed: &Endorsed) {
        let mut simulator = self.channel.ledger().simulator();
        let found = self.invocables.find("mychannel", &endorsed.chaincode, &mut simulator);
        assert!(matches!(found, Err(NotInvocable::NotInstalled(_))), "{found:?}");
        let ours = simulator.finish().read_write_set.ns_rwset;
        let theirs = TxReadWriteSet::decode(endorsed.action.results.clone()).unwrap().ns_rwset;
        assert_eq!(ours.as_slice(), &theirs[..1]);
    }

    fn commit(&self, block: &Block) {
        let entries = &block.data.as_ref().unwrap().data;
        let opened = entries.iter().map(|entry| Endorsed::open(entry).unwrap());
        let mut clear = Vec::new();
        for (tx_index, endorsed) in opened.enumerate() {
            let (sets, writes) = (endorsed.sets(), self.clear_writes(&endorsed));
            assert_eq!(writes.len(), hashed_write_count(&sets, self.msp_id), "each hash has a clear value");
            clear.extend(writes.into_iter().map(|(collection, key, value)| PrivateWrite {
                tx_index: tx_index as u32,
                namespace: "_lifecycle".into(),
                collection,
                key,
                value,
            }));
        }
        let verdicts = entries.iter().map(|_| Verdict::valid()).collect();
        let checked = CheckedBlock { block: block.clone(), verdicts, private_writes: clear };
        let committed = self.channel.ledger().commit(checked).unwrap();
        assert_eq!(Some(committed.commit_hash), block::commit_hash(block), "the state is the one Fabric had");
    }

    fn clear_writes(&self, endorsed: &Endorsed) -> Vec<(String, String, Option<Bytes>)> {
        private_writes(&endorsed.transaction.proposal_payload_bytes, &endorsed.sets(), self.msp_id)
    }
}

fn hashed_write_count(sets: &ReadWriteSet, msp_id: &str) -> usize {
    let collection = implicit_collection::name_of(msp_id);
    let collections = sets.namespaces.iter().flat_map(|set| &set.collections);
    collections.filter(|set| set.name == collection).map(|set| set.hashed.hashed_writes.len()).sum()
}

#[test]
fn each_approval_and_commit_of_a_real_network_is_endorsed_again_byte_for_byte() {
    let blocks = block_file::lifecycle();
    let mut replicas = ["Org1MSP", "Org2MSP"].map(|msp_id| Replica::of(msp_id, &blocks[0]));
    let mut calls = 0;
    for block in &blocks[1..] {
        for endorsed in block.data.as_ref().unwrap().data.iter().filter_map(Endorsed::open) {
            replicas.iter_mut().for_each(|replica| replica.endorse_again(&endorsed));
            if endorsed.chaincode != "_lifecycle" {
                replicas.iter().for_each(|replica| replica.read_definition_again(&endorsed));
                calls += 1;
            }
        }
        replicas.iter().for_each(|replica| replica.commit(block));
    }
    // Two approvals and two commits each; commits are endorsed by both.
    assert_eq!(replicas.map(|replica| replica.endorsed_again), [4, 4]);
    assert_eq!(calls, 1);
}

#[test]
fn clear_values_of_other_organizations_and_altered_arguments_are_not_believed() {
    let blocks = block_file::lifecycle();
    let approval = blocks[1..]
        .iter()
        .flat_map(|block| &block.data.as_ref().unwrap().data)
        .filter_map(Endorsed::open)
        .find(|endorsed| hashed_write_count(&endorsed.sets(), "Org1MSP") > 0)
        .unwrap();
    let payload = &approval.transaction.proposal_payload_bytes;
    assert_eq!(private_writes(payload, &approval.sets(), "Org1MSP").len(), 6);
    assert!(private_writes(payload, &approval.sets(), "Org2MSP").is_empty());

    let version = payload.windows(3).position(|window| window == b"1.0").unwrap();
    let mut altered = payload.to_vec();
    altered[version] = b'2';
    let believed = private_writes(&altered.into(), &approval.sets(), "Org1MSP");
    assert!(!believed.is_empty());
    assert!(believed.iter().all(|(_, key, _)| !key.ends_with("/EndorsementInfo")));
}
