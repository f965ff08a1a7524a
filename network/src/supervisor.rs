//! The small parent of a network's processes.
//!
//! It starts each with its log, writes their pids down, notes when one ends, and on a
//! signal asks them to end, and ends those that do not. A process whose
//! supervisor is gone ends too, since its standard input closes.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::folder::Folder;
use crate::processes::{Process, Processes, Supervised};
use crate::topology::Topology;

/// Tells a process that it ends with its standard input.
pub(crate) const SUPERVISED: &str = "RIPSTOP_SUPERVISED";
/// After this a process that was asked to end is ended.
const GRACE: Duration = Duration::from_secs(10);

/// How one process is started.
struct Plan {
    name: String,
    arguments: Vec<PathBuf>,
    environment: Vec<(&'static str, String)>,
}

/// Runs a network's processes until a signal comes.
pub(crate) async fn supervise(folder: &Folder) -> anyhow::Result<()> {
    let topology = folder.topology()?;
    // Registered before anything starts, so that no signal is lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let own = Process::of(std::process::id()).context("cannot read this process's own start time")?;
    let mut processes = Processes { supervisor: own, supervised: Vec::new() };
    let mut ends = JoinSet::new();
    for plan in plans(folder, &topology)? {
        let (process, child) = start(folder, &plan)?;
        processes.supervised.push(Supervised { name: plan.name.clone(), process, ended: None });
        ends.spawn(wait(plan.name, child));
    }
    let file = folder.processes_file();
    processes.write(&file)?;
    loop {
        tokio::select! {
            Some(ended) = ends.join_next() => note_end(&mut processes, ended?, &file)?,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // A closed terminal does not concern a detached network.
            _ = hangup.recv() => {}
        }
    }
    stop(&mut processes, ends, &file).await
}

fn plans(folder: &Folder, topology: &Topology) -> anyhow::Result<Vec<Plan>> {
    let node = |role: &str, name: &str| Plan {
        name: name.to_owned(),
        arguments: vec![role.into(), "--config".into(), folder.node(name).join("config.toml")],
        environment: Vec::new(),
    };
    let mut plans: Vec<Plan> = topology.orderers.iter().map(|orderer| node("orderer", &orderer.name)).collect();
    plans.extend(topology.peers().map(|(_, peer)| node("peer", &peer.name)));
    for contract in &topology.contracts {
        let package = crate::package::Package::of_contract(contract)?;
        plans.push(Plan {
            name: contract.name.clone(),
            arguments: vec!["sample".into(), contract.name.as_str().into()],
            environment: vec![
                ("CHAINCODE_SERVER_ADDRESS", format!("127.0.0.1:{}", contract.port)),
                ("CHAINCODE_ID", package.id().to_owned()),
            ],
        });
    }
    Ok(plans)
}

fn start(folder: &Folder, plan: &Plan) -> anyhow::Result<(Process, Child)> {
    let log_path = folder.log(&plan.name);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("cannot write the log {}", log_path.display()))?;
    let child = Command::new(std::env::current_exe()?)
        .args(&plan.arguments)
        .envs(plan.environment.iter().map(|(name, value)| (*name, value.as_str())))
        .env(SUPERVISED, "1")
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", plan.name))?;
    let pid = child.id().context("the process ended at once")?;
    let process =
        Process::of(pid).with_context(|| format!("{} ended at once; see {}", plan.name, log_path.display()))?;
    Ok((process, child))
}

async fn wait(name: String, mut child: Child) -> (String, std::io::Result<ExitStatus>) {
    // Kept open: the child ends when this end of its standard input closes.
    let _input = child.stdin.take();
    let status = child.wait().await;
    (name, status)
}

fn note_end(
    processes: &mut Processes,
    (name, status): (String, std::io::Result<ExitStatus>),
    file: &std::path::Path,
) -> anyhow::Result<()> {
    let text = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    tracing::warn!(process = name, status = text, "a process ended");
    if let Some(supervised) = processes.supervised.iter_mut().find(|supervised| supervised.name == name) {
        supervised.ended = Some(text);
    }
    processes.write(file)
}

/// Asks the processes to end, waits, and ends those that are still there.
async fn stop(
    processes: &mut Processes,
    mut ends: JoinSet<(String, std::io::Result<ExitStatus>)>,
    file: &std::path::Path,
) -> anyhow::Result<()> {
    for supervised in processes.supervised.iter().filter(|supervised| supervised.ended.is_none()) {
        supervised.process.terminate();
    }
    let deadline = tokio::time::Instant::now() + GRACE;
    while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, ends.join_next()).await {
        note_end(processes, ended?, file)?;
    }
    for supervised in processes.supervised.iter().filter(|supervised| supervised.ended.is_none()) {
        tracing::error!(process = supervised.name, grace_s = GRACE.as_secs(), "did not end when asked; ending it now");
        supervised.process.kill();
    }
    while let Some(ended) = ends.join_next().await {
        note_end(processes, ended?, file)?;
    }
    Ok(())
}
