//! Roles by organizational unit ("NodeOUs"): which unit of a certificate makes its holder a client,
//! a peer, an admin or an orderer.

use ripstop_proto::common::msp_role::MspRoleType;

/// What a certificate's holder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// An application's user.
    Client,
    /// A peer.
    Peer,
    /// An administrator of the organization.
    Admin,
    /// An ordering node.
    Orderer,
}

impl Role {
    /// All four, in the order in which Fabric lists them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Peer, Self::Admin, Self::Orderer];

    /// The organizational unit that cryptogen and fabric-ca use for this role.
    pub fn organizational_unit(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Admin => "admin",
            Self::Orderer => "orderer",
        }
    }

    pub(crate) fn of(role: MspRoleType) -> Option<Self> {
        match role {
            MspRoleType::Member => None,
            MspRoleType::Admin => Some(Self::Admin),
            MspRoleType::Client => Some(Self::Client),
            MspRoleType::Peer => Some(Self::Peer),
            MspRoleType::Orderer => Some(Self::Orderer),
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// One unit; with `certifiers` only below that chain of authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) certifiers: Option<[u8; 32]>,
}

/// The units of the four roles; `None` for a role that is not told apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeOus {
    pub(crate) units: [Option<Unit>; 4],
}

/// Why the units do not give exactly one role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoleError {
    #[error("none of its organizational units stands for client, peer, admin or orderer")]
    None,
    #[error("more than one of its organizational units stands for a role; exactly one is allowed")]
    Several,
    #[error("the organizational unit {0} counts only below another certificate authority")]
    Certifiers(String),
}

impl NodeOus {
    /// Checks that exactly one unit stands for a role and was certified by the right authority.
    pub(crate) fn check(&self, units: &[String], certifiers: &[u8; 32]) -> Result<(), RoleError> {
        let mut count = 0;
        for name in units {
            // Where two roles share a name, the later one of the list decides, as in Fabric.
            let role = self.units.iter().flatten().rfind(|unit| unit.name == *name);
            let Some(unit) = role else { continue };
            if unit.certifiers.as_ref().is_some_and(|wanted| wanted != certifiers) {
                return Err(RoleError::Certifiers(name.clone()));
            }
            count += 1;
            if count > 1 {
                return Err(RoleError::Several);
            }
        }
        if count == 1 { Ok(()) } else { Err(RoleError::None) }
    }

    /// Whether one of the units is the one of `role`, whoever certified it.
    pub(crate) fn has_role(&self, units: &[String], role: Role) -> bool {
        let wanted = self.units[role.index()].as_ref();
        wanted.is_some_and(|wanted| units.contains(&wanted.name))
    }
}
