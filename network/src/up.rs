//! `network up`: from nothing, or from a folder that `down` left, to a network that serves.
//!
//! make the folder ▶ start the supervisor ▶ wait until the nodes are well ▶ join orderers and
//! peers to the channel ▶ deploy the samples ▶ commit a first transaction.
//! Every step looks first whether it is already done, so `up` may be repeated at any time.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::cli::{PortPlan, Target, Up};
use crate::deploy::{self, Wanted};
use crate::folder::{Folder, Found};
use crate::lifecycle::Lifecycle;
use crate::participation::Participation;
use crate::ports::Ports;
use crate::processes::Processes;
use crate::session::Session;
use crate::status::{Status, is_healthy};
use crate::topology::{Batch, Cutting, Identities, Size, Topology, loopback};
use crate::{down, material, node_config};

/// Nodes that are not well after this will not be.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Makes or resumes the network in `folder`.
pub(crate) async fn up(folder: &Folder, target: &Target, options: &Up) -> anyhow::Result<()> {
    let topology = match folder.look()? {
        Found::Network(topology) => resumed(*topology, target, options)?,
        Found::Unfinished => {
            folder.clear()?;
            make(folder, target, options)?
        }
        Found::Empty => make(folder, target, options)?,
    };
    let processes = Processes::read(&folder.processes_file())?;
    if !processes.is_some_and(|processes| processes.supervisor.is_alive()) {
        check_ports(&topology)?;
        start_supervisor(folder)?;
    }
    let brought_up = bring_up(folder, target, &topology).await;
    if brought_up.is_err() {
        // What did not come up is not left running half-way.
        down::stop(folder).await?;
    }
    brought_up?;
    Status::of(folder, &topology).await?.print(options.json.json)?;
    if !options.json.json {
        print_next_commands(folder, &topology);
    }
    if options.foreground {
        tokio::signal::ctrl_c().await?;
        down::stop(folder).await?;
    }
    Ok(())
}

/// The network of an existing folder; options that ask for another one are refused.
fn resumed(topology: Topology, target: &Target, options: &Up) -> anyhow::Result<Topology> {
    if let Some(channel) = target.channel.as_ref().filter(|channel| **channel != topology.channel) {
        bail!(
            "the network has the channel {}, not {channel}: name another folder with --dir for a new network",
            topology.channel
        );
    }
    let given = [
        options.orgs.is_some(),
        !options.peers_per_org.is_empty(),
        options.orderers.is_some(),
        options.identities.is_some(),
        options.batch_timeout.is_some(),
        options.max_message_count.is_some(),
        options.preferred_max_bytes.is_some(),
        options.absolute_max_bytes.is_some(),
        options.cutting.is_some(),
    ];
    if given.contains(&true) {
        let wanted = planned(target, options, &mut Ports::fabric())?;
        let ports_aside = |topology: &Topology| {
            let shape = topology.organizations.iter().map(|organization| organization.peers.len()).collect::<Vec<_>>();
            (shape, topology.orderers.len(), topology.identities, topology.batch.clone(), topology.cutting)
        };
        if ports_aside(&wanted) != ports_aside(&topology) {
            bail!(
                "this folder holds a network that was made with other options: leave them out to resume it, \
                 or name another folder with --dir"
            );
        }
    }
    Ok(topology)
}

fn make(folder: &Folder, target: &Target, options: &Up) -> anyhow::Result<Topology> {
    let mut ports = match (options.port_base, options.ports) {
        (Some(base), _) => Ports::from_base(base),
        (None, Some(PortPlan::Free)) => Ports::free(),
        (None, _) => Ports::fabric(),
    };
    let topology = planned(target, options, &mut ports)?;
    // Free ports are held while they are given out; the nodes need them now.
    drop(ports);
    check_ports(&topology)?;
    folder.create()?;
    material::write(folder, &topology)?;
    node_config::write(folder, &topology)?;
    std::fs::create_dir_all(folder.log("x").with_file_name(""))?;
    folder.write_topology(&topology)?;
    Ok(topology)
}

fn planned(target: &Target, options: &Up, ports: &mut Ports) -> anyhow::Result<Topology> {
    let orderers = usize::from(options.orderers.unwrap_or(1));
    if orderers != 1 {
        bail!("--orderers {orderers}: this version runs one orderer; a cluster of several comes with a later one");
    }
    let batch = Batch {
        timeout_ms: options.batch_timeout.map_or(2000, |timeout| timeout.as_millis() as u64),
        message_count_max: options.max_message_count.unwrap_or(500),
        preferred_bytes_max: options.preferred_max_bytes.unwrap_or(2 * 1024 * 1024),
        absolute_bytes_max: options.absolute_max_bytes.unwrap_or(10 * 1024 * 1024),
    };
    if batch.preferred_bytes_max > batch.absolute_bytes_max {
        bail!(
            "--preferred-max-bytes {} is over --absolute-max-bytes {}",
            batch.preferred_bytes_max,
            batch.absolute_bytes_max
        );
    }
    let size = Size {
        organizations: usize::from(options.orgs.unwrap_or(2)),
        peers: options.peers_per_org.iter().map(|count| usize::from(*count)).collect(),
        orderers,
    };
    let channel = target.channel.clone().unwrap_or_else(|| "mychannel".to_owned());
    let cutting = options.cutting.unwrap_or(Cutting::Adaptive);
    let identities = options.identities.unwrap_or(Identities::P256);
    Ok(Topology::new(channel, batch, cutting, identities, &size, ports)?)
}

/// Every port of the plan must be free before anything starts.
fn check_ports(topology: &Topology) -> anyhow::Result<()> {
    let orderers = topology.orderers.iter().flat_map(|orderer| {
        [orderer.port, orderer.admin_port, orderer.operations_port].map(|port| (&orderer.name, port))
    });
    let peers = topology.peers().flat_map(|(_, peer)| [peer.port, peer.operations_port].map(|port| (&peer.name, port)));
    let contracts = topology.contracts.iter().map(|contract| (&contract.name, contract.port));
    for (name, port) in orderers.chain(peers).chain(contracts) {
        if let Err(error) = TcpListener::bind(loopback(port)) {
            bail!(
                "port {port}, which {name} needs, cannot be used ({error}): end what uses it, \
                 or make the network with --port-base P or --ports free"
            );
        }
    }
    Ok(())
}

fn start_supervisor(folder: &Folder) -> anyhow::Result<()> {
    let log_path = folder.log("supervisor");
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("cannot write the log {}", log_path.display()))?;
    // What an earlier supervisor wrote says nothing about this one.
    match std::fs::remove_file(folder.processes_file()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Command::new(std::env::current_exe()?)
        .arg("--dir")
        .arg(folder.path())
        .args(["network", "supervise"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A group of its own: Ctrl-C in this terminal is not meant for the network.
        .process_group(0)
        .spawn()
        .context("cannot start the supervisor")?;
    Ok(())
}

async fn bring_up(folder: &Folder, target: &Target, topology: &Topology) -> anyhow::Result<()> {
    wait_until_well(folder, topology).await?;
    let genesis = std::fs::read(folder.genesis_block(&topology.channel)).context("cannot read the genesis block")?;
    for orderer in &topology.orderers {
        let participation = Participation::new(folder, orderer)?;
        if !participation.has_joined(&topology.channel).await? {
            participation.join(&genesis).await?;
        }
    }
    let lifecycle = Lifecycle::new(folder, topology);
    lifecycle.join_peers(&genesis).await?;
    for contract in &topology.contracts {
        let wanted = Wanted::sample(contract)?;
        let deployed = deploy::bring_about(&lifecycle, &wanted).await?;
        if deployed.changed {
            let session = Session::open(folder, target).await?;
            session.contract(&contract.name).submit("InitLedger", &[]).await.context("the first transaction failed")?;
        }
    }
    Ok(())
}

/// Waits for every node's health check; says at once when one of them has ended instead.
async fn wait_until_well(folder: &Folder, topology: &Topology) -> anyhow::Result<()> {
    let orderers = topology.orderers.iter().map(|orderer| (&orderer.name, orderer.operations_port));
    let peers = topology.peers().map(|(_, peer)| (&peer.name, peer.operations_port));
    let deadline = Instant::now() + START_TIMEOUT;
    for (name, operations_port) in orderers.chain(peers) {
        while !is_healthy(operations_port).await {
            check_running(folder, name)?;
            if Instant::now() > deadline {
                bail!("{name} is not well after {} s; see {}", START_TIMEOUT.as_secs(), folder.log(name).display());
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

fn check_running(folder: &Folder, name: &str) -> anyhow::Result<()> {
    let Some(processes) = Processes::read(&folder.processes_file())? else { return Ok(()) };
    let ended = processes.supervised.iter().find(|supervised| supervised.name == name).and_then(|it| it.ended.as_ref());
    if let Some(ended) = ended {
        let log = std::fs::read_to_string(folder.log(name)).unwrap_or_default();
        let last_lines: Vec<&str> = log.lines().rev().take(5).collect();
        let last_lines: Vec<&str> = last_lines.into_iter().rev().collect();
        bail!("{name} ended ({ended}). The end of {}:\n{}", folder.log(name).display(), last_lines.join("\n"));
    }
    Ok(())
}

fn print_next_commands(folder: &Folder, topology: &Topology) {
    let program = std::env::args().next().unwrap_or_else(|| "ripstop".to_owned());
    let default = Folder::new(std::path::Path::new("./ripstop-network"));
    let is_default = default.is_ok_and(|default| default.path() == folder.path());
    let dir = if is_default { String::new() } else { format!(" --dir '{}'", folder.path().display()) };
    println!("\nThe channel {} is ready, the contract basic is deployed. Next:", topology.channel);
    for command in [
        "query basic GetAllAssets",
        "submit basic CreateAsset asset7 green 10 Ada 500",
        "query basic ReadAsset asset7",
        "network status",
        "network down",
    ] {
        println!("  {program} {command}{dir}");
    }
}
