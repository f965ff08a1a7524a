//! Bringing peers into a channel and chaincode onto it, as each organization's admin.
//!
//! These are Fabric's own lifecycle calls, as its `peer` program makes them: install on every
//! peer, one approval for each organization, one commit that enough organizations endorse.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use prost::Message;
use ripstop_client::{Gateway, ProposalBuilder};
use ripstop_proto::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ChaincodeSource, CheckCommitReadinessArgs, CheckCommitReadinessResult,
    CommitChaincodeDefinitionArgs, InstallChaincodeArgs, QueryApprovedChaincodeDefinitionArgs,
    QueryApprovedChaincodeDefinitionResult, QueryChaincodeDefinitionsArgs, QueryChaincodeDefinitionsResult,
    QueryInstalledChaincodesArgs, QueryInstalledChaincodesResult, chaincode_source,
    query_chaincode_definitions_result::ChaincodeDefinition,
};
use ripstop_proto::protos::endorser_client::EndorserClient;
use ripstop_proto::protos::{ChannelQueryResponse, Response};
use tonic::transport::Channel;

use crate::folder::Folder;
use crate::package::Package;
use crate::session;
use crate::topology::{Organization, Peer, Topology};

const LIFECYCLE: &str = "_lifecycle";
const ADMIN: &str = "Admin";
/// What one peer committed every other one commits within moments.
const SPREAD_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// Every organization's admin, for one network.
pub(crate) struct Lifecycle<'a> {
    folder: &'a Folder,
    topology: &'a Topology,
}

/// What organizations agree on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sequence: i64,
    /// Marshalled `protos.ApplicationPolicy`.
    pub(crate) validation_parameter: Vec<u8>,
    pub(crate) init_required: bool,
}

/// An admin's connection to one peer.
struct Admin {
    gateway: Gateway,
    msp_id: String,
    connection: Channel,
    peer: String,
}

impl<'a> Lifecycle<'a> {
    /// The admins of the network in `folder`.
    pub(crate) fn new(folder: &'a Folder, topology: &'a Topology) -> Self {
        Self { folder, topology }
    }

    /// Joins every peer that has not joined yet.
    pub(crate) async fn join_peers(&self, genesis: &[u8]) -> anyhow::Result<()> {
        for (organization, peer) in self.topology.peers() {
            let admin = self.admin(organization, peer).await?;
            let answer = admin.ask("cscc", "GetChannels", None).await?;
            let joined = ChannelQueryResponse::decode(answer.payload)?.channels;
            if joined.iter().all(|channel| channel.channel_id != self.topology.channel) {
                admin.ask("cscc", "JoinChain", Some(genesis)).await?;
            }
        }
        Ok(())
    }

    /// Installs a package on every peer that does not have it.
    pub(crate) async fn install(&self, package: &Package) -> anyhow::Result<()> {
        for (organization, peer) in self.topology.peers() {
            let admin = self.admin(organization, peer).await?;
            let query = QueryInstalledChaincodesArgs {}.encode_to_vec();
            let answer = admin.ask(LIFECYCLE, "QueryInstalledChaincodes", Some(&query)).await?;
            let installed = QueryInstalledChaincodesResult::decode(answer.payload)?.installed_chaincodes;
            if installed.iter().all(|installed| installed.package_id != package.id()) {
                let install =
                    InstallChaincodeArgs { chaincode_install_package: package.bytes().to_vec().into() }.encode_to_vec();
                admin.ask(LIFECYCLE, "InstallChaincode", Some(&install)).await?;
            }
        }
        Ok(())
    }

    /// The committed definitions, as the first organization's peer has them.
    pub(crate) async fn definitions(&self) -> anyhow::Result<Vec<ChaincodeDefinition>> {
        let (organization, peer) = self.topology.peers().next().context("the network has no peer")?;
        self.admin(organization, peer).await?.definitions(&self.topology.channel).await
    }

    /// The package that every organization approved for a definition, if it is the same one.
    pub(crate) async fn approved_package(&self, name: &str, sequence: i64) -> anyhow::Result<Option<String>> {
        let mut package_ids = Vec::new();
        for (organization, peer) in self.first_peers() {
            let approved =
                self.admin(organization, peer).await?.approved(&self.topology.channel, name, sequence).await?;
            package_ids.push(approved.map(|approved| package_of(&approved)));
        }
        let first = package_ids.first().cloned().flatten();
        Ok(first.filter(|first| package_ids.iter().all(|package_id| package_id.as_ref() == Some(first))))
    }

    /// Approves a definition for every organization that has not approved just this.
    pub(crate) async fn approve(&self, definition: &Definition, package_id: &str) -> anyhow::Result<()> {
        let local = chaincode_source::Local { package_id: package_id.to_owned() };
        let source = ChaincodeSource { r#type: Some(chaincode_source::Type::LocalPackage(local)) };
        let arguments = ApproveChaincodeDefinitionForMyOrgArgs {
            sequence: definition.sequence,
            name: definition.name.clone(),
            version: definition.version.clone(),
            validation_parameter: definition.validation_parameter.clone().into(),
            init_required: definition.init_required,
            source: Some(source),
            ..Default::default()
        }
        .encode_to_vec();
        for (organization, peer) in self.first_peers() {
            let admin = self.admin(organization, peer).await?;
            let channel = &self.topology.channel;
            let approved = admin.approved(channel, &definition.name, definition.sequence).await?;
            if approved.is_some_and(|approved| is_approval_of(&approved, definition, package_id)) {
                continue;
            }
            // Only the own organization can approve, so only its peer is asked to endorse.
            let proposal = admin
                .proposal(channel, "ApproveChaincodeDefinitionForMyOrg", &arguments)
                .endorsing_organizations([organization.msp_id.as_str()]);
            submit(proposal).await.with_context(|| format!("{} did not approve", organization.msp_id))?;
        }
        Ok(())
    }

    /// Commits an approved definition and waits until every peer has it.
    pub(crate) async fn commit(&self, definition: &Definition) -> anyhow::Result<()> {
        self.wait_until_ready(definition).await?;
        let arguments = CommitChaincodeDefinitionArgs {
            sequence: definition.sequence,
            name: definition.name.clone(),
            version: definition.version.clone(),
            validation_parameter: definition.validation_parameter.clone().into(),
            init_required: definition.init_required,
            ..Default::default()
        }
        .encode_to_vec();
        let channel = &self.topology.channel;
        let (organization, peer) = self.topology.peers().next().context("the network has no peer")?;
        let admin = self.admin(organization, peer).await?;
        submit(admin.proposal(channel, "CommitChaincodeDefinition", &arguments)).await?;
        for (organization, peer) in self.topology.peers() {
            let admin = self.admin(organization, peer).await?;
            let what = format!("{} has not committed sequence {}", peer.name, definition.sequence);
            wait_for(&what, async || {
                let definitions = admin.definitions(channel).await?;
                Ok(definitions.iter().any(|it| it.name == definition.name && it.sequence == definition.sequence))
            })
            .await?;
        }
        Ok(())
    }

    /// Endorsers must see the same approvals, or their answers differ.
    async fn wait_until_ready(&self, definition: &Definition) -> anyhow::Result<()> {
        let arguments = CheckCommitReadinessArgs {
            sequence: definition.sequence,
            name: definition.name.clone(),
            version: definition.version.clone(),
            validation_parameter: definition.validation_parameter.clone().into(),
            init_required: definition.init_required,
            ..Default::default()
        }
        .encode_to_vec();
        for (organization, peer) in self.topology.peers() {
            let admin = self.admin(organization, peer).await?;
            wait_for(&format!("{} has not seen every organization's approval", peer.name), async || {
                let answer = admin.evaluate(&self.topology.channel, "CheckCommitReadiness", &arguments).await?;
                let readiness = CheckCommitReadinessResult::decode(answer)?;
                Ok(readiness.approvals.values().all(|approved| *approved))
            })
            .await?;
        }
        Ok(())
    }

    fn first_peers(&self) -> impl Iterator<Item = (&'a Organization, &'a Peer)> {
        let organizations = self.topology.organizations.iter();
        organizations.filter_map(|organization| organization.peers.first().map(|peer| (organization, peer)))
    }

    async fn admin(&self, organization: &Organization, peer: &Peer) -> anyhow::Result<Admin> {
        let identity = session::identity(self.folder, organization, ADMIN)?;
        let connection = session::connect(self.folder, self.topology, organization, peer).await?;
        let gateway = Gateway::connect(connection.clone(), identity);
        Ok(Admin { gateway, msp_id: organization.msp_id.clone(), connection, peer: peer.name.clone() })
    }
}

impl Admin {
    fn proposal(&self, channel: &str, function: &str, arguments: &[u8]) -> ProposalBuilder {
        self.gateway.network(channel).contract(LIFECYCLE).new_proposal(function).arguments([arguments])
    }

    /// Asks this very peer, on no channel.
    async fn ask(&self, chaincode: &str, function: &str, argument: Option<&[u8]>) -> anyhow::Result<Response> {
        let builder = self.gateway.network("").contract(chaincode).new_proposal(function);
        let proposal = builder.arguments(argument).build()?;
        let signed = proposal.signed().clone();
        let mut endorser = EndorserClient::new(self.connection.clone());
        let refused = || format!("{} refused {function}", self.peer);
        let answer = endorser.process_proposal(signed).await.with_context(refused)?.into_inner();
        let response = answer.response.unwrap_or_default();
        ensure!(response.status == 200, "{}: {} {}", refused(), response.status, response.message);
        Ok(response)
    }

    /// Asks this peer's organization, on a channel.
    async fn evaluate(&self, channel: &str, function: &str, arguments: &[u8]) -> anyhow::Result<bytes::Bytes> {
        // Approvals are an organization's own affair: another's peer cannot answer.
        let own = self.msp_id.as_str();
        Ok(self.proposal(channel, function, arguments).endorsing_organizations([own]).build()?.evaluate().await?)
    }

    async fn definitions(&self, channel: &str) -> anyhow::Result<Vec<ChaincodeDefinition>> {
        let query = QueryChaincodeDefinitionsArgs {}.encode_to_vec();
        let answer = self.evaluate(channel, "QueryChaincodeDefinitions", &query).await?;
        Ok(QueryChaincodeDefinitionsResult::decode(answer)?.chaincode_definitions)
    }

    async fn approved(
        &self,
        channel: &str,
        name: &str,
        sequence: i64,
    ) -> anyhow::Result<Option<QueryApprovedChaincodeDefinitionResult>> {
        let query = QueryApprovedChaincodeDefinitionArgs { name: name.to_owned(), sequence }.encode_to_vec();
        match self.evaluate(channel, "QueryApprovedChaincodeDefinition", &query).await {
            Ok(answer) => Ok(Some(QueryApprovedChaincodeDefinitionResult::decode(answer)?)),
            // A name nobody approved is answered with an error that says so.
            Err(error) if format!("{error:#}").contains("could not fetch approved chaincode definition") => Ok(None),
            Err(error) => Err(error),
        }
    }
}

async fn submit(proposal: ProposalBuilder) -> anyhow::Result<()> {
    let status = proposal.build()?.endorse().await?.submit().await?.status().await?;
    ensure!(status.is_successful(), "transaction {} is invalid: {}", status.transaction_id, status.code.as_str_name());
    Ok(())
}

async fn wait_for(what: &str, mut reached: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + SPREAD_TIMEOUT;
    while !reached().await? {
        if Instant::now() > deadline {
            bail!("{what} after {} s", SPREAD_TIMEOUT.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn package_of(approved: &QueryApprovedChaincodeDefinitionResult) -> String {
    match approved.source.as_ref().and_then(|source| source.r#type.as_ref()) {
        Some(chaincode_source::Type::LocalPackage(local)) => local.package_id.clone(),
        _ => String::new(),
    }
}

fn is_approval_of(
    approved: &QueryApprovedChaincodeDefinitionResult,
    definition: &Definition,
    package_id: &str,
) -> bool {
    approved.sequence == definition.sequence
        && approved.version == definition.version
        && approved.validation_parameter == definition.validation_parameter
        && approved.init_required == definition.init_required
        && package_of(approved) == package_id
}
