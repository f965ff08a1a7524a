//! Which policy guards which resource.
//!
//! A resource is a system chaincode's function, an event stream or a gateway call, named
//! `component/Function`. The configuration's ACLs may set another policy for a resource of
//! a channel; resources of a peer (install, join, …) are guarded by the peer's own MSP and
//! cannot be set here. Source: Fabric `core/aclmgmt`.

use std::collections::BTreeMap;

use ripstop_proto::protos::AcLs;

const READERS: &str = "/Channel/Application/Readers";
const WRITERS: &str = "/Channel/Application/Writers";

/// Resources of a channel, ascending.
const DEFAULTS: &[(&str, &str)] = &[
    ("_lifecycle/CheckCommitReadiness", WRITERS),
    ("_lifecycle/CommitChaincodeDefinition", WRITERS),
    ("_lifecycle/QueryChaincodeDefinition", WRITERS),
    ("_lifecycle/QueryChaincodeDefinitions", WRITERS),
    ("cscc/GetChannelConfig", READERS),
    ("cscc/GetConfigBlock", READERS),
    ("event/Block", READERS),
    ("event/FilteredBlock", READERS),
    ("gateway/ChaincodeEvents", READERS),
    ("gateway/CommitStatus", READERS),
    ("lscc/ChaincodeExists", READERS),
    ("lscc/GetChaincodeData", READERS),
    ("lscc/GetCollectionsConfig", READERS),
    ("lscc/GetDeploymentSpec", READERS),
    ("lscc/GetInstantiatedChaincodes", READERS),
    ("peer/ChaincodeToChaincode", WRITERS),
    ("peer/Propose", WRITERS),
    ("qscc/GetBlockByHash", READERS),
    ("qscc/GetBlockByNumber", READERS),
    ("qscc/GetBlockByTxID", READERS),
    ("qscc/GetChainInfo", READERS),
    ("qscc/GetTransactionByID", READERS),
];

/// Resources of a peer, ascending: never taken from a channel's configuration.
const LOCAL: &[&str] = &[
    "_lifecycle/ApproveChaincodeDefinitionForMyOrg",
    "_lifecycle/GetInstalledChaincodePackage",
    "_lifecycle/InstallChaincode",
    "_lifecycle/QueryApprovedChaincodeDefinition",
    "_lifecycle/QueryApprovedChaincodeDefinitions",
    "_lifecycle/QueryInstalledChaincode",
    "_lifecycle/QueryInstalledChaincodes",
    "cscc/GetChannels",
    "cscc/JoinBySnapshotStatus",
    "cscc/JoinChain",
    "cscc/JoinChainBySnapshot",
    "lscc/GetInstalledChaincodes",
    "lscc/Install",
    "snapshot/cancelrequest",
    "snapshot/listpending",
    "snapshot/submitrequest",
];

/// The policy path for `resource`, or an empty text where no policy could be right: for
/// resources of a peer, and for unknown ones that the configuration does not set.
pub(crate) fn policy_path(resource: &str, overrides: Option<&BTreeMap<String, String>>) -> String {
    if LOCAL.binary_search(&resource).is_ok() {
        return String::new();
    }
    if let Some(path) = overrides.and_then(|overrides| overrides.get(resource)) {
        return path.clone();
    }
    let found = DEFAULTS.binary_search_by_key(&resource, |(resource, _)| resource);
    found.map_or_else(|_| String::new(), |index| DEFAULTS[index].1.to_owned())
}

/// The configuration's ACLs with absolute paths; a policy that is not absolute stands in
/// the application group, an empty one is no entry.
pub(crate) fn overrides(acls: AcLs) -> BTreeMap<String, String> {
    let entry = |(resource, api): (String, ripstop_proto::protos::ApiResource)| match api.policy_ref {
        path if path.is_empty() => None,
        path if path.starts_with('/') => Some((resource, path)),
        name => Some((resource, format!("/Channel/Application/{name}"))),
    };
    acls.acls.into_iter().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use ripstop_proto::protos::ApiResource;

    use super::*;

    #[test]
    fn the_tables_are_sorted_for_the_search() {
        assert!(DEFAULTS.is_sorted_by_key(|(resource, _)| resource));
        assert!(LOCAL.is_sorted());
    }

    #[test]
    fn the_configuration_overrides_channel_resources_only() {
        let set = |path: &str| ApiResource { policy_ref: path.to_owned() };
        let acls = AcLs {
            acls: BTreeMap::from([
                ("peer/Propose".to_owned(), set("Admins")),
                ("event/Block".to_owned(), set("/Channel/Readers")),
                ("event/FilteredBlock".to_owned(), set("")),
                ("cscc/JoinChain".to_owned(), set("Readers")),
                ("own/Thing".to_owned(), set("Org1MSP/Readers")),
            ]),
        };
        let overrides = overrides(acls);
        let path = |resource: &str| policy_path(resource, Some(&overrides));
        assert_eq!(path("peer/Propose"), "/Channel/Application/Admins");
        assert_eq!(path("event/Block"), "/Channel/Readers");
        assert_eq!(path("event/FilteredBlock"), READERS);
        assert_eq!(path("cscc/JoinChain"), "");
        assert_eq!(path("own/Thing"), "/Channel/Application/Org1MSP/Readers");
        assert_eq!(path("qscc/GetChainInfo"), READERS);
        assert_eq!(path("unknown/Thing"), "");
        assert_eq!(policy_path("peer/Propose", None), WRITERS);
    }
}
