//! Every peer comes to the same codes and commit hashes, whatever was in the blocks.

use std::collections::BTreeMap;
use std::sync::Arc;

use ripstop_client::{Gateway, SigningIdentity, TxValidationCode};
use ripstop_ledger::Ledger;
use ripstop_node::transport::Dialer;
use ripstop_proto::block::{self, TRANSACTIONS_FILTER};

use crate::contract;
use crate::network::Network;

const PEERS: [&str; 2] = ["peer0.org1.example.com", "peer0.org2.example.com"];

#[tokio::test(flavor = "multi_thread")]
async fn codes_and_commit_hashes_are_equal_with_conflicts_and_phantoms_and_after_a_restart() {
    let network = Network::up(&[]);
    let before = provoke(&network, "before").await;
    network.ok(&["network", "down"]);
    let first = compare(&network);
    network.ok(&["network", "up"]);
    let after = provoke(&network, "after").await;
    network.ok(&["network", "down"]);
    let second = compare(&network);
    for (codes, chain) in [(before, &first), (after, &second)] {
        for code in [TxValidationCode::Valid, TxValidationCode::MvccReadConflict, TxValidationCode::PhantomReadConflict]
        {
            assert!(codes.contains_key(&code.as_str_name()), "no {} among {codes:?}", code.as_str_name());
        }
        let in_chain = chain.iter().flat_map(|(filter, _)| filter).filter(|code| **code != 0).count();
        assert!(in_chain >= codes.iter().filter(|(code, _)| **code != "VALID").map(|(_, count)| count).sum());
    }
    assert_eq!(first[..], second[..first.len()], "blocks changed over a restart");
    assert!(second.len() > first.len());
}

/// Submits batches of transactions that read what others of the same batch write, until
/// both kinds of conflict were seen; the codes by name.
async fn provoke(network: &Network, round: &str) -> BTreeMap<&'static str, usize> {
    let _served = contract::serve(network).await;
    let gateway = gateway(network).await;
    let contract = gateway.network("mychannel").contract("conflicting");
    let mut codes = BTreeMap::new();
    for attempt in 0..20 {
        let mut endorsed = Vec::new();
        for index in 0..5 {
            let value = format!("{round}-{attempt}-{index}");
            let hot = contract.new_proposal("ReadThenWrite").arguments([b"hot".as_slice(), value.as_bytes()]);
            endorsed.push(hot.build().unwrap().endorse().await.unwrap());
            let row = format!("{round}-row-{attempt}-{index}");
            let arguments = [format!("{round}-row-"), row];
            let counting = contract.new_proposal("CountThenWrite").arguments(&arguments);
            endorsed.push(counting.build().unwrap().endorse().await.unwrap());
        }
        let mut statuses = Vec::new();
        for transaction in &endorsed {
            statuses.push(transaction.submit().await.unwrap());
        }
        for commit in statuses {
            *codes.entry(commit.status().await.unwrap().code.as_str_name()).or_default() += 1;
        }
        if codes.contains_key("MVCC_READ_CONFLICT") && codes.contains_key("PHANTOM_READ_CONFLICT") {
            break;
        }
    }
    codes
}

/// User1 of organization 1 at its peer.
pub(crate) async fn gateway(network: &Network) -> Gateway {
    let organization = network.organization("org1.example.com");
    let user = organization.join("users/User1@org1.example.com/msp");
    let identity = SigningIdentity::from_msp_folder("Org1MSP", user).unwrap();
    let root = std::fs::read(organization.join("peers/peer0.org1.example.com/tls/ca.crt")).unwrap();
    let address = network.node(PEERS[0])["address"].as_str().unwrap().to_owned();
    let connection = Dialer::new(BTreeMap::new()).connect(&address, &[root], None).await.unwrap();
    Gateway::connect(connection, Arc::new(identity))
}

/// The codes and the commit hash of each block, the same on both peers.
fn compare(network: &Network) -> Vec<(Vec<u8>, Option<[u8; 32]>)> {
    let [one, other] = PEERS.map(|peer| chain(network, peer));
    let height = one.len().min(other.len());
    assert!(height > 3, "{height} blocks are too few to compare");
    assert_eq!(one[..height], other[..height]);
    assert!(one[1..].iter().all(|(_, commit_hash)| commit_hash.is_some()));
    one
}

fn chain(network: &Network, peer: &str) -> Vec<(Vec<u8>, Option<[u8; 32]>)> {
    let ledger = Ledger::open(network.ledger(peer), ripstop_ledger::Options::default()).unwrap();
    (0..ledger.height())
        .map(|number| {
            let block = ledger.block(number).unwrap().unwrap();
            (block::metadata_slot(&block, TRANSACTIONS_FILTER).to_vec(), block::commit_hash(&block))
        })
        .collect()
}
