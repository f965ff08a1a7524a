//! Orderers that withhold blocks, and words about newer ones.

use std::collections::BTreeMap;
use std::time::Duration;

use ripstop_proto::common::Block;
use tokio::sync::watch;

use crate::blocks;
use crate::deliver_client::{Chain, Following, Requests, TestOrderer, serve, signed_chain};
use crate::organizations::{ORDERER, Organizations};
use crate::serving::Serving;
/// Two orderers with one chain each, and a client that is patient for 50 ms.
struct TwoOrderers {
    chains: [Chain; 2],
    requests: [Requests; 2],
    probes: [watch::Sender<usize>; 2],
    serving: Vec<Serving>,
    following: Following,
}

impl TwoOrderers {
    const NAMES: [&str; 2] = [ORDERER, "orderer.example.com:8050"];

    fn organizations() -> Organizations {
        Organizations::with_channel(|profile| {
            profile.orderer_organizations[0].endpoints = Self::NAMES.map(str::to_owned).to_vec();
        })
    }

    /// Both hold `blocks`.
    async fn start(organizations: &Organizations, blocks: &[Block]) -> Self {
        let chains = [watch::Sender::new(blocks.to_vec()), watch::Sender::new(blocks.to_vec())];
        let (requests, probes) = (<[Requests; 2]>::default(), <[watch::Sender<usize>; 2]>::default());
        let (mut serving, mut dial) = (Vec::new(), BTreeMap::new());
        for (index, name) in Self::NAMES.into_iter().enumerate() {
            let orderer = TestOrderer {
                chain: chains[index].clone(),
                requests: requests[index].clone(),
                probes: probes[index].clone(),
            };
            let served = serve(organizations, "127.0.0.1:0", orderer).await;
            dial.insert(name.to_owned(), served.address.to_string());
            serving.push(served);
        }
        let mut following = Following::dialling(organizations, dial, Duration::from_millis(50));
        following.expect(&blocks[1..]).await;
        Self { chains, requests, probes, serving, following }
    }

    /// The orderer that is followed, and the other one.
    fn followed_and_other(&self) -> (usize, usize) {
        let followed = usize::from(self.requests[0].borrow().is_empty());
        (followed, 1 - followed)
    }

    async fn probed(&self, index: usize, count: usize) {
        let mut probes = self.probes[index].subscribe();
        let enough = probes.wait_for(|probes| *probes >= count);
        tokio::time::timeout(Duration::from_secs(20), enough).await.unwrap().unwrap();
    }

    async fn end(self) {
        self.following.end().await;
        for serving in self.serving {
            serving.end().await;
        }
    }
}

#[tokio::test]
async fn an_orderer_that_sends_nothing_while_another_is_ahead_is_left() {
    let organizations = TwoOrderers::organizations();
    let blocks = signed_chain(&organizations, 6);
    let mut test = TwoOrderers::start(&organizations, &blocks[..4]).await;
    let (followed, other) = test.followed_and_other();
    test.chains[other].send_replace(blocks.clone());
    tokio::time::timeout(Duration::from_secs(20), test.following.expect(&blocks[4..])).await.unwrap();
    assert_eq!(test.requests[other].borrow().len(), 1);
    assert_eq!(test.requests[followed].borrow().len(), 1);
    // It comes back in the same way when the other one stops.
    let more = signed_chain(&organizations, 8);
    test.chains[followed].send_replace(more.clone());
    tokio::time::timeout(Duration::from_secs(20), test.following.expect(&more[7..])).await.unwrap();
    assert_eq!(test.requests[followed].borrow().len(), 2);
    test.end().await;
}

#[tokio::test]
async fn an_orderer_is_not_left_while_the_chain_stands_still() {
    let organizations = TwoOrderers::organizations();
    let blocks = signed_chain(&organizations, 3);
    let test = TwoOrderers::start(&organizations, &blocks).await;
    let (followed, other) = test.followed_and_other();
    test.probed(other, 4).await;
    assert_eq!(test.requests[followed].borrow().len(), 1);
    assert!(test.requests[other].borrow().is_empty());
    test.end().await;
}

#[tokio::test]
async fn a_newest_header_that_orderers_did_not_sign_is_not_believed() {
    let organizations = TwoOrderers::organizations();
    let mut blocks = signed_chain(&organizations, 5);
    let test = TwoOrderers::start(&organizations, &blocks[..4]).await;
    let (followed, other) = test.followed_and_other();
    blocks::sign(&mut blocks[5], &organizations.org1.peer);
    test.chains[other].send_replace(blocks);
    let before = *test.probes[other].borrow();
    test.probed(other, before + 4).await;
    assert_eq!(test.requests[followed].borrow().len(), 1);
    assert!(test.requests[other].borrow().is_empty());
    test.end().await;
}
