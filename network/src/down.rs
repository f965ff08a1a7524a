//! `network down`: stops what the network's supervisor started; the folder stays.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::json;

use crate::folder::Folder;
use crate::output::say;
use crate::processes::{Process, Processes};

/// The supervisor ends its processes within 10 s.
const TIMEOUT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

/// Stops the network in `folder`, and waits until it has ended.
pub(crate) async fn down(folder: &Folder, json: bool) -> anyhow::Result<()> {
    // A folder without a network is a mistake worth telling.
    folder.topology()?;
    let stopped = stop(folder).await?;
    if json {
        return say(&json!({ "stopped": stopped }));
    }
    let path = folder.path().display();
    say(&if stopped {
        format!("stopped; the folder {path} stays, `ripstop network up` resumes it")
    } else {
        format!("nothing runs for {path}")
    })
}

/// Stops everything that runs for `folder`; says whether anything did.
pub(crate) async fn stop(folder: &Folder) -> anyhow::Result<bool> {
    let Some(processes) = Processes::read(&folder.processes_file())? else { return Ok(false) };
    let mut running: Vec<_> = processes.supervised.iter().map(|supervised| &supervised.process).collect();
    running.push(&processes.supervisor);
    running.retain(|process| !process.has_ended());
    let any = !running.is_empty();
    // A supervisor that was killed leaves processes that end by themselves, soon.
    if !processes.supervisor.terminate() {
        running.iter().for_each(|process| {
            process.terminate();
        });
    }
    if !have_ended(&running, TIMEOUT).await {
        // Nothing else ends a process that is suspended.
        running.iter().for_each(|process| {
            process.kill();
        });
        if !have_ended(&running, TIMEOUT).await {
            let pids: Vec<u32> = running.iter().filter(|it| !it.has_ended()).map(|it| it.pid).collect();
            bail!("processes {pids:?} did not end within {} s of being killed", TIMEOUT.as_secs());
        }
    }
    Ok(any)
}

/// Waits until all of them have ended; says whether they did in time.
pub(crate) async fn have_ended(processes: &[&Process], within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while processes.iter().any(|process| !process.has_ended()) {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}
