//! `network down`: stops what the network's supervisor started; the folder stays.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::json;

use crate::folder::Folder;
use crate::processes::Processes;

/// The supervisor ends its processes within 10 s.
const TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// Stops the network in `folder`, and waits until it has ended.
pub(crate) async fn down(folder: &Folder, json: bool) -> anyhow::Result<()> {
    // A folder without a network is a mistake worth telling.
    folder.topology()?;
    let stopped = stop(folder).await?;
    if json {
        println!("{}", json!({ "stopped": stopped }));
    } else if stopped {
        println!("stopped; the folder {} stays, `ripstop network up` resumes it", folder.path().display());
    } else {
        println!("nothing runs for {}", folder.path().display());
    }
    Ok(())
}

/// Stops everything that runs for `folder`; says whether anything did.
pub(crate) async fn stop(folder: &Folder) -> anyhow::Result<bool> {
    let Some(processes) = Processes::read(&folder.processes_file())? else { return Ok(false) };
    // A supervisor that was killed leaves processes that end by themselves, soon.
    let mut running: Vec<_> = processes.supervised.iter().map(|supervised| &supervised.process).collect();
    running.push(&processes.supervisor);
    running.retain(|process| process.is_alive());
    let any = !running.is_empty();
    if !processes.supervisor.terminate() {
        running.iter().for_each(|process| {
            process.terminate();
        });
    }
    let deadline = Instant::now() + TIMEOUT;
    while running.iter().any(|process| process.is_alive()) {
        if Instant::now() > deadline {
            let pids: Vec<u32> =
                running.iter().filter(|process| process.is_alive()).map(|process| process.pid).collect();
            bail!("processes {pids:?} did not end within {} s; end them with `kill -9`", TIMEOUT.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(any)
}
