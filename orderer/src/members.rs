//! The consenters of a channel: their numbers, addresses and keys.
//!
//! Consenters are numbered in the order of the configuration, from 1, and known by the keys of
//! their TLS certificates. Source: Fabric `orderer/consensus/etcdraft/consenter.go`,
//! `orderer/common/cluster/comm.go`.

use ripstop_channel::OrdererConfig;
use ripstop_msp::{Certificate, PublicKey};
use ripstop_node::transport::{ClientIdentity, DialError, Dialer};
use tonic::transport::Channel as Connection;

/// All consenters of a channel.
pub(crate) struct Members {
    own_id: u64,
    all: Vec<Member>,
    tls_roots_pem: Vec<Vec<u8>>,
}

/// One consenter.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: u64,
    /// `host:port`, as others dial it.
    pub(crate) address: String,
    server_key: Option<PublicKey>,
    client_key: Option<PublicKey>,
}

/// As whom this node calls other consenters.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) dialer: Dialer,
    /// Shown to other consenters, who know this one by it.
    pub(crate) identity: ClientIdentity,
    /// SHA-256 of that certificate (DER).
    pub(crate) certificate_hash: [u8; 32],
}

impl Members {
    /// The consenters of a configuration, if `own` is the TLS certificate of one of them.
    pub(crate) fn of(orderer: &OrdererConfig, own: &Certificate) -> Option<Self> {
        let consenters = &orderer.raft.as_ref()?.consenters;
        let key = |pem: &[u8]| Certificate::from_pem(pem).ok().map(|certificate| certificate.public_key().clone());
        let all: Vec<Member> = (1..)
            .zip(consenters)
            .map(|(id, consenter)| Member {
                id,
                address: format!("{}:{}", consenter.host, consenter.port),
                server_key: key(&consenter.server_tls_certificate_pem),
                client_key: key(&consenter.client_tls_certificate_pem),
            })
            .collect();
        let own_id = all.iter().find(|member| member.server_key.as_ref() == Some(own.public_key()))?.id;
        let roots = orderer.organizations.iter().flat_map(|organization| organization.tls_roots_pem.clone());
        Some(Self { own_id, all, tls_roots_pem: roots.collect() })
    }

    /// This node's number.
    pub(crate) fn own_id(&self) -> u64 {
        self.own_id
    }

    /// The numbers of all.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.all.iter().map(|member| member.id).collect()
    }

    /// A consenter by its number.
    pub(crate) fn get(&self, id: u64) -> Option<&Member> {
        self.all.iter().find(|member| member.id == id)
    }

    /// All but this node.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Member> {
        self.all.iter().filter(|member| member.id != self.own_id)
    }

    /// The other consenter who shows this certificate as a client.
    pub(crate) fn id_of(&self, certificate: &Certificate) -> Option<u64> {
        let found = self.others().find(|member| member.client_key.as_ref() == Some(certificate.public_key()));
        found.map(|member| member.id)
    }

    /// A connection to a consenter.
    pub(crate) async fn connect(&self, member: &Member, caller: &Caller) -> Result<Connection, DialError> {
        caller.dialer.connect(&member.address, &self.tls_roots_pem, Some(&caller.identity)).await
    }
}

/// The certificate that the caller of a request showed.
pub(crate) fn shown_certificate<T>(request: &tonic::Request<T>) -> Option<Certificate> {
    let certificates = request.peer_certs()?;
    Certificate::from_der(certificates.first()?.as_ref().to_vec().into()).ok()
}
