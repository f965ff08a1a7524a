//! Which port a node gets: Fabric's own numbers, consecutive ones, or whatever is free.

use std::net::{Ipv4Addr, TcpListener};

/// Why there is no port to give.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    /// The plan needs a number that does not exist.
    #[error("port {0} does not exist (65535 is the last): use fewer nodes, a lower --port-base, or --ports free")]
    TooHigh(u32),
    /// The system gives none.
    #[error("no free port on this machine: {0}")]
    NoneFree(#[from] std::io::Error),
}

/// The plan by which ports are given out.
#[derive(Debug)]
pub(crate) enum Ports {
    /// Fabric's numbers, as its test-network uses them.
    Fabric(Free),
    /// Consecutive from a base.
    Consecutive(u32),
    /// Free ones, each different.
    Free(Free),
}

/// Hands out free ports, never one twice: each stays bound while the plan is made.
///
/// They are below those that the system gives to outgoing connections, so that none is taken
/// by one while its node is down; and they are drawn by blocks, so that two networks that
/// are made at the same time hardly meet.
#[derive(Debug, Default)]
pub(crate) struct Free {
    next: u16,
    held: Vec<TcpListener>,
}

/// Where free ports are looked for; outgoing connections use 32768 and above.
const FREE: std::ops::Range<u16> = 12_288..32_768;
/// Ports in a block.
const BLOCK: u16 = 64;
/// Ports that are tried before giving up.
const TRIES: usize = 4096;

impl Ports {
    /// Fabric's numbers.
    pub(crate) fn fabric() -> Self {
        Self::Fabric(Free::default())
    }

    /// Consecutive numbers from `base`.
    pub(crate) fn from_base(base: u16) -> Self {
        Self::Consecutive(u32::from(base))
    }

    /// Free ports.
    pub(crate) fn free() -> Self {
        Self::Free(Free::default())
    }

    /// gRPC, admin and operations port of an orderer, counted from 0.
    pub(crate) fn orderer(&mut self, index: usize) -> Result<[u16; 3], PortError> {
        self.three([7050, 7053, 9443].map(|port| port + 100 * index as u32))
    }

    /// gRPC, chaincode and operations port of a peer, counted from 0 in its organization.
    pub(crate) fn peer(&mut self, organization: usize, peer: usize) -> Result<[u16; 3], PortError> {
        let (organization, peer) = (organization as u32, 100 * peer as u32);
        let port = 7051 + 2000 * organization + peer;
        self.three([port, port + 1, 9444 + organization + peer])
    }

    /// The port of a contract's process: a free one.
    pub(crate) fn contract(&mut self) -> Result<u16, PortError> {
        match self {
            Self::Fabric(free) | Self::Free(free) => free.next(),
            Self::Consecutive(next) => take(next),
        }
    }

    fn three(&mut self, fabric: [u32; 3]) -> Result<[u16; 3], PortError> {
        let [a, b, c] = fabric;
        match self {
            Self::Fabric(_) => Ok([existing(a)?, existing(b)?, existing(c)?]),
            Self::Consecutive(next) => Ok([take(next)?, take(next)?, take(next)?]),
            Self::Free(free) => Ok([free.next()?, free.next()?, free.next()?]),
        }
    }
}

impl Free {
    fn next(&mut self) -> Result<u16, PortError> {
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        for _ in 0..TRIES {
            if self.next.is_multiple_of(BLOCK) {
                self.next = rand::random_range(FREE.start / BLOCK..FREE.end / BLOCK) * BLOCK;
            }
            let port = self.next;
            self.next += 1;
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(listener) => {
                    self.held.push(listener);
                    return Ok(port);
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }
}

fn take(next: &mut u32) -> Result<u16, PortError> {
    let port = existing(*next)?;
    *next += 1;
    Ok(port)
}

fn existing(port: u32) -> Result<u16, PortError> {
    u16::try_from(port).map_err(|_| PortError::TooHigh(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_beyond_the_last_is_refused() {
        assert!(matches!(Ports::fabric().peer(30, 0), Err(PortError::TooHigh(67_051))));
        let mut ports = Ports::from_base(65_534);
        assert!(matches!(ports.orderer(0), Err(PortError::TooHigh(65_536))));
    }

    #[test]
    fn free_ports_are_all_different() {
        let mut ports = Ports::free();
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..20 {
            assert!(ports.peer(0, index).unwrap().into_iter().all(|port| seen.insert(port)));
        }
    }
}
