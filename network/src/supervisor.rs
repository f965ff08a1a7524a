//! The small parent of a network's processes.
//!
//! It starts each with its log, writes their pids down and notes when one ends. On SIGUSR1 it
//! starts again what a command asks for ([`crate::control`]); on SIGTERM it asks all of them
//! to end, and ends those that do not. A process whose supervisor is gone ends too, since its
//! standard input closes.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::control::StartRequest;
use crate::folder::{Folder, read_json};
use crate::processes::{Process, Processes, Supervised};
use crate::topology::Topology;

/// Tells a process that it ends with its standard input.
pub(crate) const SUPERVISED: &str = "RIPSTOP_SUPERVISED";
/// After this a process that was asked to end is ended.
const GRACE: Duration = Duration::from_secs(10);

/// The end of one process.
type Ended = (Process, std::io::Result<ExitStatus>);

/// How one process is started.
struct Plan {
    name: String,
    arguments: Vec<PathBuf>,
    environment: Vec<(&'static str, String)>,
}

/// Everything that runs, and what is known of it.
struct Supervisor<'a> {
    folder: &'a Folder,
    plans: Vec<Plan>,
    processes: Processes,
    ends: JoinSet<Ended>,
}

/// Runs a network's processes until a signal comes.
pub(crate) async fn supervise(folder: &Folder) -> anyhow::Result<()> {
    let topology = folder.topology()?;
    // Registered before anything starts, so that no signal is lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut start_request = signal(SignalKind::user_defined1())?;
    let own = Process::of(std::process::id()).context("cannot read this process's own start time")?;
    let processes = Processes { supervisor: own, supervised: Vec::new() };
    let plans = plans(folder, &topology)?;
    let mut supervisor = Supervisor { folder, plans, processes, ends: JoinSet::new() };
    supervisor.start_all()?;
    loop {
        tokio::select! {
            Some(ended) = supervisor.ends.join_next() => supervisor.note_end(ended?)?,
            _ = start_request.recv() => supervisor.start_requested()?,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // A closed terminal does not concern a detached network.
            _ = hangup.recv() => {}
        }
    }
    supervisor.stop().await
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

async fn wait(process: Process, mut child: Child) -> Ended {
    // Kept open: the child ends when this end of its standard input closes.
    let _input = child.stdin.take();
    let status = child.wait().await;
    (process, status)
}

impl Supervisor<'_> {
    fn start_all(&mut self) -> anyhow::Result<()> {
        for plan in &self.plans {
            let (process, child) = start(self.folder, plan)?;
            self.processes.supervised.push(Supervised {
                name: plan.name.clone(),
                process: process.clone(),
                ended: None,
            });
            self.ends.spawn(wait(process, child));
        }
        self.processes.write(&self.folder.processes_file())
    }

    /// Starts what the request names and does not run. A failure is noted, for the command that
    /// waits for it, and does not concern the other processes.
    fn start_requested(&mut self) -> anyhow::Result<()> {
        let request: StartRequest = read_json(&self.folder.start_request())?.unwrap_or_default();
        for plan in self.plans.iter().filter(|plan| request.names.contains(&plan.name)) {
            let Some(supervised) = self.processes.supervised.iter_mut().find(|it| it.name == plan.name) else {
                continue;
            };
            if supervised.process.is_alive() {
                continue;
            }
            match start(self.folder, plan) {
                Ok((process, child)) => {
                    supervised.process = process.clone();
                    supervised.ended = None;
                    self.ends.spawn(wait(process, child));
                }
                Err(error) => supervised.ended = Some(format!("cannot be started again: {error:#}")),
            }
        }
        self.write()
    }

    fn note_end(&mut self, (process, status): Ended) -> anyhow::Result<()> {
        let text = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        // Not found when it was started again before its end was noted.
        if let Some(supervised) = self.processes.supervised.iter_mut().find(|it| it.process == process) {
            tracing::warn!(process = supervised.name, status = text, "a process ended");
            supervised.ended = Some(text);
        }
        self.write()
    }

    /// Asks the processes to end, waits, and ends those that are still there.
    async fn stop(&mut self) -> anyhow::Result<()> {
        for supervised in self.still_there() {
            supervised.process.terminate();
        }
        let deadline = tokio::time::Instant::now() + GRACE;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.ends.join_next()).await {
            self.note_end(ended?)?;
        }
        for supervised in self.still_there() {
            tracing::error!(process = supervised.name, grace_s = GRACE.as_secs(), "did not end when asked; ending it");
            supervised.process.kill();
        }
        while let Some(ended) = self.ends.join_next().await {
            self.note_end(ended?)?;
        }
        Ok(())
    }

    fn still_there(&self) -> impl Iterator<Item = &Supervised> {
        self.processes.supervised.iter().filter(|supervised| supervised.ended.is_none())
    }

    /// A full disk does not end a network that runs; a folder that was deleted does, since
    /// nobody could find its processes any more.
    fn write(&self) -> anyhow::Result<()> {
        match self.processes.write(&self.folder.processes_file()) {
            Err(error) if self.folder.path().exists() => {
                tracing::error!(error = format!("{error:#}"), "what runs cannot be written down");
                Ok(())
            }
            written => written,
        }
    }
}
