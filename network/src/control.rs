//! `network stop | kill | start`: one process of a running network.
//!
//! A process is asked or made to end directly, by its pid. Only its parent can start it
//! again: the names go into a file of the network's folder, a signal tells the supervisor to
//! read it, and what came of it stands in `processes.json`. Files have no limit on the
//! length of their path, as a socket would.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::down::have_ended;
use crate::folder::{Folder, write_json};
use crate::health;
use crate::naming::resolve;
use crate::output::say;
use crate::processes::{Processes, Supervised};
use crate::topology::{Member, Topology};

/// A process that was asked to end is ended after this.
const GRACE: Duration = Duration::from_secs(10);
/// The supervisor notes an end, or starts a process, within moments.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// What the supervisor is asked to start, where it does not run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StartRequest {
    /// Names of nodes and contracts.
    pub(crate) names: Vec<String>,
}

/// How a process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with everything written.
    Stopped,
    /// At once, as when the machine fails.
    Killed,
}

/// `network stop` and `network kill`.
pub(crate) async fn end(folder: &Folder, name: &str, end: End, json: bool) -> anyhow::Result<()> {
    let topology = folder.topology()?;
    let name = named(&topology, name)?.name;
    let _lock = folder.lock()?;
    let processes = Processes::read(&folder.processes_file())?;
    let Some(process) = processes.as_ref().and_then(|processes| processes.running(name)) else {
        return report(name, "down", None, json, &format!("{name} does not run"));
    };
    let forced = match end {
        End::Stopped => !process.terminate() || !have_ended(&[process], GRACE).await,
        End::Killed => true,
    };
    if forced {
        process.kill();
        if !have_ended(&[process], ANSWER_TIMEOUT).await {
            bail!("{name} (pid {}) does not end", process.pid);
        }
    }
    let how = match end {
        End::Stopped if forced => format!("did not end within {} s and was killed", GRACE.as_secs()),
        End::Stopped => "stopped".to_owned(),
        End::Killed => "killed".to_owned(),
    };
    report(name, "down", Some(process.pid), json, &format!("{name} {how} (pid {})", process.pid))
}

/// `network start`.
pub(crate) async fn start(folder: &Folder, name: &str, json: bool) -> anyhow::Result<()> {
    let topology = folder.topology()?;
    let member = named(&topology, name)?;
    let name = member.name;
    let already = {
        let _lock = folder.lock()?;
        let started = ask_for(folder, std::slice::from_ref(&member)).await?;
        started.is_empty()
    };
    health::wait_until_well(folder, &member).await?;
    let pid = Processes::read(&folder.processes_file())?
        .and_then(|processes| processes.running(name).map(|process| process.pid));
    let text = if already { format!("{name} runs already") } else { format!("{name} started") };
    report(name, "up", pid, json, &pid.map_or_else(|| text.clone(), |pid| format!("{text} (pid {pid})")))
}

/// Has the supervisor start those of `members` that do not run, and returns their names;
/// the caller holds the folder's lock.
pub(crate) async fn ask_for(folder: &Folder, members: &[Member<'_>]) -> anyhow::Result<Vec<String>> {
    let missing = missing(folder, members).await?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = missing.iter().map(|supervised| supervised.name.clone()).collect();
    write_json(&folder.start_request(), &StartRequest { names: names.clone() })?;
    let supervisor = read(folder)?.supervisor;
    if !supervisor.wake() {
        bail!("the network's supervisor has ended: `ripstop network up` starts the network");
    }
    for before in &missing {
        let started = wait_for(folder, |processes| {
            processes.find(&before.name).is_some_and(|now| now.process != before.process || now.ended != before.ended)
        });
        started
            .await
            .with_context(|| format!("{} was not started; see {}", before.name, folder.log("supervisor").display()))?;
    }
    Ok(names)
}

/// What of `members` does not run, once the supervisor has noted that it ended.
async fn missing(folder: &Folder, members: &[Member<'_>]) -> anyhow::Result<Vec<Supervised>> {
    let mut missing = Vec::new();
    for member in members {
        if read(folder)?.running(member.name).is_some() {
            continue;
        }
        let noted = |processes: &Processes| processes.find(member.name).is_some_and(|it| it.ended.is_some());
        wait_for(folder, noted).await.with_context(|| {
            format!(
                "{} does not run, but its supervisor does not know: `ripstop network down` and up help",
                member.name
            )
        })?;
        missing.extend(read(folder)?.find(member.name).cloned());
    }
    Ok(missing)
}

async fn wait_for(folder: &Folder, reached: impl Fn(&Processes) -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    while !reached(&read(folder)?) {
        if Instant::now() > deadline {
            bail!("the supervisor did not answer within {} s", ANSWER_TIMEOUT.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// What runs under a living supervisor.
fn read(folder: &Folder) -> anyhow::Result<Processes> {
    Processes::read(&folder.processes_file())?
        .filter(|processes| processes.supervisor.is_alive())
        .context("the network is down: `ripstop network up` starts it")
}

/// The node or contract that `name` means.
fn named<'a>(topology: &'a Topology, name: &str) -> anyhow::Result<Member<'a>> {
    let members = topology.members();
    let names: Vec<&str> = members.iter().map(|member| member.name).collect();
    let name = resolve("node or contract", name, &names)?;
    members.into_iter().find(|member| member.name == name).context("a resolved name is a member's")
}

fn report(name: &str, state: &str, pid: Option<u32>, json: bool, text: &str) -> anyhow::Result<()> {
    if json {
        return say(&json!({ "name": name, "state": state, "pid": pid }));
    }
    say(&text)
}
