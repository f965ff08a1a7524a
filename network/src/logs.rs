//! `network logs`: what a node or a contract printed, and with `-f` what it prints from now on.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use anyhow::Context;

use crate::folder::Folder;
use crate::naming::resolve;

/// How soon a new line is seen.
const POLL: Duration = Duration::from_millis(100);
const CHUNK_BYTES: usize = 64 * 1024;

/// Prints a log; `follow` goes on until it is interrupted.
pub(crate) async fn logs(folder: &Folder, name: &str, follow: bool) -> anyhow::Result<()> {
    let topology = folder.topology()?;
    let mut names: Vec<&str> = topology.members().iter().map(|member| member.name).collect();
    names.push("supervisor");
    let name = resolve("node or contract", name, &names)?;
    let path = folder.log(name);
    let mut log = match File::open(&path) {
        Ok(log) => log,
        Err(error) if error.kind() == ErrorKind::NotFound => anyhow::bail!("{name} has not run yet"),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    loop {
        copy(&mut log)?;
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Copies what is there to standard output.
fn copy(log: &mut File) -> anyhow::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut stdout = std::io::stdout().lock();
    loop {
        let count = log.read(&mut chunk).context("cannot read the log")?;
        if count == 0 {
            stdout.flush()?;
            return Ok(());
        }
        stdout.write_all(&chunk[..count])?;
    }
}
