//! Waiting until nodes are well, or learning at once that one of them has ended instead.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use hyper::StatusCode;

use crate::folder::Folder;
use crate::http;
use crate::processes::Processes;
use crate::topology::Member;

/// Nodes that are not well after this will not be.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Lines of a log that an error shows.
const LOG_LINES: usize = 5;

/// Whether a node's operations interface says that it is well.
pub(crate) async fn is_healthy(operations_port: u16) -> bool {
    matches!(http::get_local(operations_port, "/healthz").await, Ok((StatusCode::OK, _)))
}

/// Waits for a node's health check; a contract has none and is well when it runs.
///
/// # Errors
/// When the process has ended, with the end of its log, or is not well in time.
pub(crate) async fn wait_until_well(folder: &Folder, member: &Member<'_>) -> anyhow::Result<()> {
    let Some(operations_port) = member.operations_port else { return check_running(folder, member.name) };
    let deadline = Instant::now() + START_TIMEOUT;
    while !is_healthy(operations_port).await {
        check_running(folder, member.name)?;
        if Instant::now() > deadline {
            let log = folder.log(member.name);
            bail!("{} is not well after {} s; see {}", member.name, START_TIMEOUT.as_secs(), log.display());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn check_running(folder: &Folder, name: &str) -> anyhow::Result<()> {
    let Some(processes) = Processes::read(&folder.processes_file())? else { return Ok(()) };
    if !processes.supervisor.is_alive() {
        let log = folder.log("supervisor");
        bail!("the network's supervisor has ended. The end of {}:\n{}", log.display(), end_of(&log));
    }
    if let Some(ended) = processes.find(name).and_then(|supervised| supervised.ended.as_ref()) {
        bail!("{name} ended ({ended}). The end of {}:\n{}", folder.log(name).display(), end_of(&folder.log(name)));
    }
    Ok(())
}

/// The last lines of a log.
pub(crate) fn end_of(log: &Path) -> String {
    let log = std::fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
