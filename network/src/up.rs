//! `network up`: from nothing, or from a folder that `down` left, to a network that serves.
//!
//! make the folder ▶ start the supervisor ▶ wait until the nodes are well ▶ join orderers and
//! peers to the channel ▶ deploy the samples ▶ commit a first transaction.
//! Every step looks first whether it is already done, so `up` may be repeated at any time.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::statvfs::statvfs;

use crate::cli::{PortPlan, Target, Up};
use crate::deploy::{self, Wanted};
use crate::folder::{Folder, Found};
use crate::lifecycle::Lifecycle;
use crate::output::{progress, say};
use crate::participation::Participation;
use crate::ports::Ports;
use crate::processes::{Process, Processes};
use crate::session::Session;
use crate::status::Status;
use crate::topology::{Batch, Cutting, Identities, Size, Topology, loopback};
use crate::usage::Usage;
use crate::{control, down, health, material, node_config, peer_program, shell};

const POLL: Duration = Duration::from_millis(20);
/// What a node writes before its first transaction, and some blocks.
const NODE_BYTES_MIN: u64 = 8 << 20;

/// Makes or resumes the network in `folder`.
pub(crate) async fn up(folder: &Folder, target: &Target, options: &Up) -> anyhow::Result<()> {
    let (topology, already_up) = start(folder, target, options).await?;
    let brought_up = bring_up(folder, target, &topology).await;
    if brought_up.is_err() && !already_up {
        // What did not come up is not left running half-way.
        down::stop(folder).await?;
    }
    brought_up?;
    Status::of(folder, &topology).await?.print(options.json.json)?;
    if !options.json.json {
        print_next_commands(folder, &topology)?;
    }
    if options.foreground {
        tokio::signal::ctrl_c().await?;
        down::stop(folder).await?;
    }
    Ok(())
}

/// Makes or reads the network, and starts what of it does not run; says whether its supervisor
/// ran already. Two commands that do this at the same time wait for each other.
async fn start(folder: &Folder, target: &Target, options: &Up) -> anyhow::Result<(Topology, bool)> {
    // A file or a folder of somebody else is refused before anything is written.
    folder.look()?;
    let is_new = !folder.path().exists();
    std::fs::create_dir_all(folder.path())
        .with_context(|| format!("cannot make the folder {}", folder.path().display()))?;
    let _lock = folder.lock()?;
    let made = made_or_resumed(folder, target, options);
    if made.is_err() && is_new {
        // Succeeds only when nothing was written.
        let _ = std::fs::remove_dir(folder.path());
    }
    let topology = made?;
    let processes = Processes::read(&folder.processes_file())?;
    if let Some(supervisor) = processes.map(|processes| processes.supervisor).filter(Process::is_alive) {
        match control::ask_for(folder, &topology.members()).await {
            Ok(started) => {
                if !started.is_empty() {
                    progress(&format!("starting {}", started.join(", ")));
                }
                return Ok((topology, true));
            }
            Err(error) if supervisor.is_alive() => return Err(error),
            // It was ending, which did not show yet.
            Err(_) => {}
        }
    }
    // What a killed supervisor left ends by itself, but its ports are needed now.
    down::stop(folder).await?;
    check_ports(&topology)?;
    progress(&format!("starting {} processes", topology.members().len()));
    peer_program::write(folder)?;
    start_supervisor(folder).await?;
    Ok((topology, false))
}

fn made_or_resumed(folder: &Folder, target: &Target, options: &Up) -> anyhow::Result<Topology> {
    match folder.look()? {
        Found::Network(topology) => resumed(*topology, target, options),
        Found::Unfinished => {
            folder.clear_content()?;
            make(folder, target, options)
        }
        Found::Empty => make(folder, target, options),
    }
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
    check_space(folder, &topology)?;
    progress(&"making certificates and the genesis block");
    folder.create()?;
    material::write(folder, &topology)?;
    node_config::write(folder, &topology)?;
    std::fs::create_dir_all(folder.log("x").with_file_name(""))?;
    folder.write_topology(&topology)?;
    Ok(topology)
}

fn planned(target: &Target, options: &Up, ports: &mut Ports) -> anyhow::Result<Topology> {
    let orderers = usize::from(options.orderers.unwrap_or(3));
    if ![1, 3, 5].contains(&orderers) {
        return Err(wrong(format!(
            "--orderers {orderers}: a Raft cluster here has 1, 3 or 5 orderers, so that a minority may fail"
        )));
    }
    let batch = Batch {
        timeout_ms: options.batch_timeout.map_or(2000, |timeout| timeout.as_millis() as u64),
        message_count_max: options.max_message_count.unwrap_or(500),
        preferred_bytes_max: options.preferred_max_bytes.unwrap_or(2 * 1024 * 1024),
        absolute_bytes_max: options.absolute_max_bytes.unwrap_or(10 * 1024 * 1024),
    };
    if batch.preferred_bytes_max > batch.absolute_bytes_max {
        return Err(wrong(format!(
            "--preferred-max-bytes {} is over --absolute-max-bytes {}",
            batch.preferred_bytes_max, batch.absolute_bytes_max
        )));
    }
    let organizations = usize::from(options.orgs.unwrap_or(2));
    if options.peers_per_org.len() > organizations {
        return Err(wrong(format!(
            "--peers-per-org counts peers for {} organizations, but there are {organizations}: see --orgs",
            options.peers_per_org.len()
        )));
    }
    let size = Size {
        organizations,
        peers: options.peers_per_org.iter().map(|count| usize::from(*count)).collect(),
        orderers,
    };
    let channel = target.channel.clone().unwrap_or_else(|| "mychannel".to_owned());
    let cutting = options.cutting.unwrap_or(Cutting::Adaptive);
    let identities = options.identities.unwrap_or(Identities::P256);
    Ok(Topology::new(channel, batch, cutting, identities, &size, ports)?)
}

fn wrong(message: String) -> anyhow::Error {
    Usage(message).into()
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

/// Says before anything is written that there is too little space for it.
fn check_space(folder: &Folder, topology: &Topology) -> anyhow::Result<()> {
    let needed = NODE_BYTES_MIN * topology.members().len() as u64;
    // Where the file system cannot tell, writing will.
    let Ok(file_system) = statvfs(folder.path()) else { return Ok(()) };
    let free = file_system.blocks_available() * file_system.fragment_size();
    if free < needed {
        bail!(
            "{} MiB are free where {} is, and this network needs at least {} MiB: \
             free some space or name another folder with --dir",
            free >> 20,
            folder.path().display(),
            needed >> 20
        );
    }
    Ok(())
}

/// Starts the supervisor and waits until it has started the processes.
async fn start_supervisor(folder: &Folder) -> anyhow::Result<()> {
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
    let mut supervisor = Command::new(std::env::current_exe()?)
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
    while !folder.processes_file().exists() {
        if let Some(status) = supervisor.try_wait()? {
            bail!("the supervisor ended ({status}). The end of {}:\n{}", log_path.display(), health::end_of(&log_path));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

async fn bring_up(folder: &Folder, target: &Target, topology: &Topology) -> anyhow::Result<()> {
    for member in topology.members() {
        health::wait_until_well(folder, &member).await?;
    }
    progress(&format!("joining the channel {}", topology.channel));
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
        progress(&format!("deploying the contract {}", contract.name));
        let wanted = Wanted::sample(contract)?;
        let deployed = deploy::bring_about(&lifecycle, &wanted).await?;
        if deployed.changed {
            let session = Session::open(folder, target).await?;
            session.contract(&contract.name).submit("InitLedger", &[]).await.context("the first transaction failed")?;
        }
    }
    Ok(())
}

fn print_next_commands(folder: &Folder, topology: &Topology) -> anyhow::Result<()> {
    let program = std::env::args().next().unwrap_or_else(|| "ripstop".to_owned());
    let default = Folder::new(std::path::Path::new("./ripstop-network"));
    let is_default = default.is_ok_and(|default| default.path() == folder.path());
    let dir =
        if is_default { String::new() } else { format!(" --dir {}", shell::quoted(&folder.path().to_string_lossy())) };
    say(&format!("\nThe channel {} is ready, the contract basic is deployed. Next:", topology.channel))?;
    for command in [
        "query basic GetAllAssets",
        "submit basic CreateAsset asset7 green 10 Ada 500",
        "query basic ReadAsset asset7",
        "network status",
        "network down",
    ] {
        say(&format!("  {program} {command}{dir}"))?;
    }
    Ok(())
}
