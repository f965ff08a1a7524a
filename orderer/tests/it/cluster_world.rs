//! Three real orderers in this process, which reach one another through connections that a
//! test can freeze.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use ripstop_channel::{RaftOptions, genesis};
use ripstop_node::transport::ClientIdentity;
use ripstop_proto::common::Block;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::material::{CHANNEL, Material, Running, advertised};
use crate::participation::join;

pub(crate) const COUNT: usize = 3;

/// The way from one orderer to another.
struct Link {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    frozen: watch::Sender<bool>,
}

/// All orderers; `None` for one that is stopped.
pub(crate) struct Cluster {
    pub(crate) material: Material,
    pub(crate) genesis: Block,
    pub(crate) running: Vec<Option<Running>>,
    links: BTreeMap<(usize, usize), Link>,
}

impl Cluster {
    /// Starts the first `count` orderers and joins them to the channel.
    pub(crate) async fn start(count: usize) -> Self {
        let material = Material::with_orderers(COUNT);
        let mut profile = material.profile(CHANNEL);
        profile.raft_options = RaftOptions {
            tick_interval: Duration::from_millis(100),
            snapshot_interval_bytes: 1 << 20,
            ..RaftOptions::default()
        };
        let genesis = genesis::block(&profile, [7; 24], SystemTime::now()).unwrap();
        let mut links = BTreeMap::new();
        for from in 0..COUNT {
            for to in (0..COUNT).filter(|to| *to != from) {
                links.insert((from, to), Link::open().await);
            }
        }
        let mut cluster = Self { material, genesis, running: (0..COUNT).map(|_| None).collect(), links };
        for index in 0..count {
            cluster.restart(index).await;
            cluster.join(index).await;
        }
        cluster
    }

    /// Starts an orderer that is stopped.
    pub(crate) async fn restart(&mut self, index: usize) {
        let others = (0..COUNT).filter(|to| *to != index);
        let dial: Vec<_> = others.map(|to| (advertised(to), self.links[&(index, to)].address)).collect();
        let settings = self.material.settings_of(index, "127.0.0.1:0", &dial, "");
        let running = Running::with_settings(settings).await;
        self.point_to(index, Some(running.address));
        self.running[index] = Some(running);
    }

    pub(crate) async fn join(&self, index: usize) {
        join(self.running[index].as_ref().unwrap(), &self.material, &self.genesis).await;
    }

    pub(crate) async fn stop(&mut self, index: usize) {
        self.point_to(index, None);
        self.running[index].take().unwrap().stop().await;
    }

    pub(crate) async fn stop_all(mut self) {
        for running in self.running.iter_mut().filter_map(Option::take) {
            running.stop().await;
        }
    }

    fn point_to(&self, index: usize, address: Option<SocketAddr>) {
        let to_it = self.links.iter().filter(|((_, to), _)| *to == index);
        to_it.for_each(|(_, link)| *link.target.lock() = address);
    }

    /// Nothing travels between this orderer and the others any more, and nobody is told.
    pub(crate) fn freeze(&self, index: usize, frozen: bool) {
        let its = self.links.iter().filter(|((from, to), _)| [*from, *to].contains(&index));
        its.for_each(|(_, link)| _ = link.frozen.send_replace(frozen));
    }

    pub(crate) fn addresses(&self) -> Vec<Option<SocketAddr>> {
        self.running.iter().map(|running| running.as_ref().map(|running| running.address)).collect()
    }

    /// What an orderer shows to others.
    pub(crate) fn identity(&self, index: usize) -> ClientIdentity {
        let orderer = self.material.orderer(index);
        ClientIdentity {
            certificate_pem: std::fs::read(orderer.tls_certificate()).unwrap(),
            key_pem: std::fs::read(orderer.tls_key()).unwrap(),
        }
    }
}

impl Link {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let (frozen, is_frozen) = watch::channel(false);
        let to = Arc::clone(&target);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let target = *to.lock();
                let Some(target) = target else { continue };
                let Ok(far) = TcpStream::connect(target).await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(carry(near_in, far_out, is_frozen.clone()));
                tokio::spawn(carry(far_in, near_out, is_frozen.clone()));
            }
        });
        Self { address, target, frozen }
    }
}

/// Carries bytes in one direction, until one side ends it.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_frozen: watch::Receiver<bool>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if is_frozen.wait_for(|frozen| !frozen).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
