//! `_lifecycle` as a chaincode: which function is called, who may call it, and the
//! answer.
//!
//! Arguments are the function's name and one marshalled message; the answer's payload
//! is one. Source: Fabric `core/chaincode/lifecycle/scc.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_channel::{ApplicationLevel, ChannelConfig};
use ripstop_ledger::Simulator;
use ripstop_msp::{Msp, SignedBytes};
use ripstop_proto::lifecycle::check_commit_readiness_result::Mismatches as WireMismatches;
use ripstop_proto::lifecycle::query_installed_chaincodes_result::{Chaincode, InstalledChaincode, References};
use ripstop_proto::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgResult, CheckCommitReadinessArgs, CheckCommitReadinessResult,
    CommitChaincodeDefinitionArgs, CommitChaincodeDefinitionResult, GetInstalledChaincodePackageArgs,
    GetInstalledChaincodePackageResult, InstallChaincodeArgs, InstallChaincodeResult, QueryChaincodeDefinitionArgs,
    QueryInstalledChaincodeArgs, QueryInstalledChaincodeResult, QueryInstalledChaincodesResult,
    query_installed_chaincode_result as single,
};
use ripstop_proto::protos::Response;

use super::approvals::{APPROVE, Approval};
use super::definition::Definition;
use super::invocable::Invocables;
use super::{LifecycleError, NAMESPACE, agreement, queries, rules};
use crate::access;
use crate::chaincode::installed::{InstalledPackage, InstalledPackages};
use crate::channel::Channels;

/// Functions that only an admin of this peer's organization may call.
const ADMIN_FUNCTIONS: [&str; 7] = [
    "InstallChaincode",
    "QueryInstalledChaincode",
    "QueryInstalledChaincodes",
    "GetInstalledChaincodePackage",
    APPROVE,
    "QueryApprovedChaincodeDefinition",
    "QueryApprovedChaincodeDefinitions",
];
/// Functions that the channel's policy decides on.
const CHANNEL_FUNCTIONS: [&str; 4] =
    ["CheckCommitReadiness", "CommitChaincodeDefinition", "QueryChaincodeDefinition", "QueryChaincodeDefinitions"];

/// The system chaincode `_lifecycle` of one peer.
pub struct LifecycleContract {
    msp_id: String,
    local_msp: Arc<Msp>,
    installed: Arc<InstalledPackages>,
    invocables: Arc<Invocables>,
    channels: Arc<Channels>,
}

/// One call on a channel.
struct OnChannel<'a> {
    config: &'a ChannelConfig,
    simulator: &'a mut Simulator,
}

impl LifecycleContract {
    /// For a peer of the organization of `local_msp`.
    pub fn new(
        local_msp: Arc<Msp>,
        installed: Arc<InstalledPackages>,
        invocables: Arc<Invocables>,
        channels: Arc<Channels>,
    ) -> Self {
        Self { msp_id: local_msp.id().to_owned(), local_msp, installed, invocables, channels }
    }

    /// Runs one function. `on_channel` is the channel's configuration and the
    /// transaction's simulator; none for a proposal without a channel. `signed` is what
    /// the caller signed. Installing writes to disk: call such proposals off the
    /// runtime's threads.
    pub fn invoke(
        &self,
        args: &[Bytes],
        signed: &SignedBytes<'_>,
        on_channel: Option<(&ChannelConfig, &mut Simulator)>,
    ) -> Response {
        let [function, argument] = args else {
            return error(match args.len() {
                0 => "lifecycle scc must be invoked with arguments".to_owned(),
                count => format!("lifecycle scc operations require exactly two arguments but received {count}"),
            });
        };
        let function = String::from_utf8_lossy(function);
        if let Some(old) = on_channel.as_ref().map(|(config, _)| *config).filter(|config| !has_lifecycle(config)) {
            let channel_id = old.channel_id();
            return error(format!(
                "cannot use new lifecycle for channel '{channel_id}' as it does not have the required capabilities enabled"
            ));
        }
        if let Err(cause) = self.authorize(&function, signed, on_channel.as_ref().map(|(config, _)| *config)) {
            return error(format!("Failed to authorize invocation due to failed ACL check: {cause}"));
        }
        let on_channel = on_channel.map(|(config, simulator)| OnChannel { config, simulator });
        match self.run(&function, argument.clone(), on_channel) {
            Ok(payload) => Response { status: 200, message: String::new(), payload },
            Err(cause @ LifecycleError::NamespaceNotDefined(_)) => {
                Response { status: 404, message: cause.to_string(), payload: Bytes::new() }
            }
            Err(cause) => error(format!("failed to invoke backing implementation of '{function}': {cause}")),
        }
    }

    fn authorize(
        &self,
        function: &str,
        signed: &SignedBytes<'_>,
        config: Option<&ChannelConfig>,
    ) -> Result<(), String> {
        let resource = format!("{NAMESPACE}/{function}");
        if ADMIN_FUNCTIONS.contains(&function) {
            return access::check_local_admin(&self.local_msp, signed).map_err(|denied| denied.to_string());
        }
        if !CHANNEL_FUNCTIONS.contains(&function) {
            return Err(format!("Unmapped policy for {resource}: this version has no such function"));
        }
        let config = config.ok_or_else(|| format!("{function} is asked on a channel, and the proposal names none"))?;
        access::check_channel(config, &resource, signed).map_err(|denied| denied.to_string())
    }

    fn run(&self, function: &str, argument: Bytes, on_channel: Option<OnChannel<'_>>) -> Result<Bytes, LifecycleError> {
        match function {
            "InstallChaincode" => answer(self.install(decode(function, argument)?)),
            "QueryInstalledChaincode" => answer(self.query_installed(decode(function, argument)?)),
            "QueryInstalledChaincodes" => answer(self.query_all_installed()),
            "GetInstalledChaincodePackage" => answer(self.package(decode(function, argument)?)),
            _ => {
                let on_channel = on_channel
                    .ok_or_else(|| LifecycleError::Refused("could not get channelconfig for channel ''".to_owned()))?;
                self.run_on_channel(function, argument, on_channel)
            }
        }
    }

    fn run_on_channel(
        &self,
        function: &str,
        argument: Bytes,
        OnChannel { config, simulator }: OnChannel<'_>,
    ) -> Result<Bytes, LifecycleError> {
        match function {
            APPROVE => answer(self.approve(Approval::new(decode(function, argument)?), config, simulator)),
            "CheckCommitReadiness" => answer(readiness(decode(function, argument)?, config, simulator)),
            "CommitChaincodeDefinition" => answer(self.commit(decode(function, argument)?, config, simulator)),
            "QueryChaincodeDefinition" => {
                let args: QueryChaincodeDefinitionArgs = decode(function, argument)?;
                answer(queries::definition(&args.name, config, simulator))
            }
            "QueryChaincodeDefinitions" => answer(queries::definitions(simulator)),
            "QueryApprovedChaincodeDefinitions" => {
                answer(queries::all_approved(config.channel_id(), &self.msp_id, simulator))
            }
            _ => {
                let args = decode(function, argument)?;
                answer(queries::approved(&args, config.channel_id(), &self.msp_id, simulator))
            }
        }
    }

    fn approve(
        &self,
        approval: Approval,
        config: &ChannelConfig,
        simulator: &mut Simulator,
    ) -> Result<ApproveChaincodeDefinitionForMyOrgResult, LifecycleError> {
        check(&approval.chaincode, &approval.definition, config, simulator)?;
        agreement::approve(&approval, config, &self.msp_id, simulator)?;
        Ok(ApproveChaincodeDefinitionForMyOrgResult {})
    }

    fn commit(
        &self,
        args: CommitChaincodeDefinitionArgs,
        config: &ChannelConfig,
        simulator: &mut Simulator,
    ) -> Result<CommitChaincodeDefinitionResult, LifecycleError> {
        let definition = Definition {
            sequence: args.sequence,
            version: args.version,
            init_required: args.init_required,
            endorsement_plugin: args.endorsement_plugin,
            validation_plugin: args.validation_plugin,
            validation_parameter: args.validation_parameter,
            collections: args.collections.unwrap_or_default(),
        };
        check(&args.name, &definition, config, simulator)?;
        agreement::commit(&args.name, definition, config, &self.msp_id, simulator)?;
        Ok(CommitChaincodeDefinitionResult {})
    }

    fn install(&self, args: InstallChaincodeArgs) -> Result<InstallChaincodeResult, LifecycleError> {
        let package = self.installed.install(&args.chaincode_install_package).map_err(refused)?;
        tracing::info!(package_id = package.package_id, "installed a chaincode package");
        Ok(InstallChaincodeResult { package_id: package.package_id, label: package.label })
    }

    fn package(
        &self,
        args: GetInstalledChaincodePackageArgs,
    ) -> Result<GetInstalledChaincodePackageResult, LifecycleError> {
        let load = self.installed.load(&args.package_id);
        let chaincode_install_package =
            load.map_err(|cause| refused(format!("could not load cc install package: {cause}")))?;
        Ok(GetInstalledChaincodePackageResult { chaincode_install_package })
    }

    fn query_installed(
        &self,
        args: QueryInstalledChaincodeArgs,
    ) -> Result<QueryInstalledChaincodeResult, LifecycleError> {
        let package_id = args.package_id;
        let package = self
            .installed
            .get(&package_id)
            .ok_or_else(|| refused(format!("could not find chaincode with package id '{package_id}'")))?;
        let single = |chaincode: Chaincode| single::Chaincode { name: chaincode.name, version: chaincode.version };
        let references = self.references()?.remove(&package_id).unwrap_or_default();
        let references = references.into_iter().map(|(channel_id, references)| {
            (channel_id, single::References { chaincodes: references.chaincodes.into_iter().map(single).collect() })
        });
        Ok(QueryInstalledChaincodeResult { package_id, label: package.label, references: references.collect() })
    }

    fn query_all_installed(&self) -> Result<QueryInstalledChaincodesResult, LifecycleError> {
        let mut references = self.references()?;
        let installed = |InstalledPackage { package_id, label }| InstalledChaincode {
            references: references.remove(&package_id).unwrap_or_default(),
            package_id,
            label,
        };
        Ok(QueryInstalledChaincodesResult {
            installed_chaincodes: self.installed.list().into_iter().map(installed).collect(),
        })
    }

    /// Which chaincodes of which channels run each package.
    fn references(&self) -> Result<BTreeMap<String, BTreeMap<String, References>>, LifecycleError> {
        let mut references: BTreeMap<String, BTreeMap<String, References>> = BTreeMap::new();
        for channel_id in self.channels.ids() {
            let Some(channel) = self.channels.get(&channel_id) else { continue };
            for (name, invocable) in self.invocables.all(&channel_id, &channel.ledger().state())? {
                let of_package = references.entry(invocable.package_id.clone()).or_default();
                let chaincode = Chaincode { name, version: invocable.version.clone() };
                of_package.entry(channel_id.clone()).or_default().chaincodes.push(chaincode);
            }
        }
        Ok(references)
    }
}

fn has_lifecycle(config: &ChannelConfig) -> bool {
    config.application().is_some_and(|application| application.capabilities >= ApplicationLevel::V2_0)
}

fn check(
    name: &str,
    definition: &Definition,
    config: &ChannelConfig,
    simulator: &mut Simulator,
) -> Result<(), LifecycleError> {
    rules::check(name, &definition.version, &definition.collections, config.msps(), simulator).map_err(|cause| {
        match cause {
            LifecycleError::Refused(text) => refused(format!("error validating chaincode definition: {text}")),
            other => other,
        }
    })
}

fn readiness(
    args: CheckCommitReadinessArgs,
    config: &ChannelConfig,
    simulator: &mut Simulator,
) -> Result<CheckCommitReadinessResult, LifecycleError> {
    let mut definition = Definition {
        sequence: args.sequence,
        version: args.version,
        init_required: args.init_required,
        endorsement_plugin: args.endorsement_plugin,
        validation_plugin: args.validation_plugin,
        validation_parameter: args.validation_parameter,
        collections: args.collections.unwrap_or_default(),
    };
    let mismatches = agreement::readiness(&args.name, &mut definition, config, simulator)?;
    let approvals = queries::approvals(&mismatches);
    let different = mismatches
        .into_iter()
        .filter(|(_, fields)| !fields.is_empty())
        .map(|(msp_id, fields)| (msp_id, WireMismatches { items: fields.into_iter().map(str::to_owned).collect() }));
    Ok(CheckCommitReadinessResult { approvals, mismatches: different.collect() })
}

fn decode<M: Message + Default>(function: &str, argument: Bytes) -> Result<M, LifecycleError> {
    M::decode(argument)
        .map_err(|cause| refused(format!("could not decode input arg for *lifecycle.Invocation.{function}: {cause}")))
}

fn answer(result: Result<impl Message, LifecycleError>) -> Result<Bytes, LifecycleError> {
    result.map(|message| message.encode_to_vec().into())
}

fn refused(cause: impl ToString) -> LifecycleError {
    LifecycleError::Refused(cause.to_string())
}

fn error(message: String) -> Response {
    Response { status: 500, message, payload: Bytes::new() }
}
