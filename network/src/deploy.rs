//! `chaincode package | deploy | list`.
//!
//! Deploying brings about what is asked for: what is already so is left, anything that
//! changed becomes the next sequence of the definition.

use std::path::PathBuf;

use anyhow::Context;
use prost::Message;
use ripstop_msp::policy_text;
use ripstop_proto::protos::{ApplicationPolicy, application_policy};
use serde_json::json;

use crate::cli::{Source, Target};
use crate::folder::Folder;
use crate::lifecycle::{Definition, Lifecycle};
use crate::output::{print, say};
use crate::package::Package;
use crate::table::Table;
use crate::topology::{Contract, Topology};
use crate::usage::Usage;

/// The channel policy that rules a chaincode whose definition names none.
const DEFAULT_POLICY: &str = "/Channel/Application/Endorsement";

/// A chaincode as somebody wants it on the channel.
pub(crate) struct Wanted {
    name: String,
    version: String,
    package: Package,
    validation_parameter: Vec<u8>,
    init_required: bool,
}

/// What deploying it did.
pub(crate) struct Deployed {
    sequence: i64,
    /// Whether anything had to change.
    pub(crate) changed: bool,
}

impl Wanted {
    /// A sample that the network runs itself, under the channel's default policy.
    pub(crate) fn sample(contract: &Contract) -> anyhow::Result<Self> {
        Ok(Self {
            name: contract.name.clone(),
            version: contract.version.clone(),
            package: Package::of_contract(contract)?,
            validation_parameter: validation_parameter(None)?,
            init_required: false,
        })
    }
}

/// Installs, approves and commits what is not so yet.
pub(crate) async fn bring_about(lifecycle: &Lifecycle<'_>, wanted: &Wanted) -> anyhow::Result<Deployed> {
    lifecycle.install(&wanted.package).await?;
    let definitions = lifecycle.definitions().await?;
    let committed = definitions.iter().find(|definition| definition.name == wanted.name);
    if let Some(committed) = committed {
        let unchanged = committed.version == wanted.version
            && committed.validation_parameter == wanted.validation_parameter
            && committed.init_required == wanted.init_required
            && lifecycle.approved_package(&wanted.name, committed.sequence).await?.as_deref()
                == Some(wanted.package.id());
        if unchanged {
            return Ok(Deployed { sequence: committed.sequence, changed: false });
        }
    }
    let definition = Definition {
        name: wanted.name.clone(),
        version: wanted.version.clone(),
        sequence: committed.map_or(1, |committed| committed.sequence + 1),
        validation_parameter: wanted.validation_parameter.clone(),
        init_required: wanted.init_required,
    };
    lifecycle.approve(&definition, wanted.package.id()).await?;
    lifecycle.commit(&definition).await?;
    Ok(Deployed { sequence: definition.sequence, changed: true })
}

fn validation_parameter(policy: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let policy = match policy {
        None => application_policy::Type::ChannelConfigPolicyReference(DEFAULT_POLICY.to_owned()),
        Some(text) => application_policy::Type::SignaturePolicy(
            policy_text::parse(text)
                .map_err(|error| Usage(format!("--policy {text} is no endorsement policy: {error}")))?,
        ),
    };
    Ok(ApplicationPolicy { r#type: Some(policy) }.encode_to_vec())
}

/// `chaincode deploy`.
pub(crate) async fn deploy(
    folder: &Folder,
    target: &Target,
    source: &Source,
    policy: Option<&str>,
    init_required: bool,
    json: bool,
) -> anyhow::Result<()> {
    let wanted = Wanted {
        name: source.name.clone(),
        version: source.version.clone(),
        package: Package::at_address(&source.name, &source.version, &source.address)?,
        validation_parameter: validation_parameter(policy)?,
        init_required,
    };
    let topology = channel_of(folder.topology()?, target);
    let deployed = bring_about(&Lifecycle::new(folder, &topology), &wanted).await?;
    let package_id = wanted.package.id();
    if json {
        let Deployed { sequence, changed } = deployed;
        say(&json!({ "name": wanted.name, "version": wanted.version, "sequence": sequence, "changed": changed,
                    "package_id": package_id }))?;
    } else {
        let what = if deployed.changed { "deployed" } else { "was already deployed" };
        say(&format!("{} {} {what}, sequence {}", wanted.name, wanted.version, deployed.sequence))?;
        say(&format!("package id {package_id}"))?;
    }
    Ok(())
}

/// `chaincode list`.
pub(crate) async fn list(folder: &Folder, target: &Target, json: bool) -> anyhow::Result<()> {
    let topology = channel_of(folder.topology()?, target);
    let mut definitions = Lifecycle::new(folder, &topology).definitions().await?;
    definitions.sort_by(|one, other| one.name.cmp(&other.name));
    if json {
        let rows = definitions.iter().map(|definition| {
            json!({ "name": definition.name, "version": definition.version, "sequence": definition.sequence,
                    "init_required": definition.init_required })
        });
        return say(&json!({ "channel": topology.channel, "chaincodes": rows.collect::<Vec<_>>() }));
    }
    let mut table = Table::new(&["NAME", "VERSION", "SEQUENCE", "INIT"]);
    for definition in definitions {
        let init = if definition.init_required { "required" } else { "-" };
        table.push([definition.name, definition.version, definition.sequence.to_string(), init.to_owned()]);
    }
    print(&table)
}

fn channel_of(mut topology: Topology, target: &Target) -> Topology {
    if let Some(channel) = &target.channel {
        topology.channel.clone_from(channel);
    }
    topology
}

/// `chaincode package`.
pub(crate) fn write_package(source: &Source, output: Option<PathBuf>, json: bool) -> anyhow::Result<()> {
    let package = Package::at_address(&source.name, &source.version, &source.address)?;
    let path = output.unwrap_or_else(|| format!("{}_{}.tar.gz", source.name, source.version).into());
    std::fs::write(&path, package.bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    if json {
        return say(&json!({ "package_id": package.id(), "file": path }));
    }
    say(&package.id())
}
