//! The programs that run until they are told to end: an orderer, a peer, a sample contract.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ripstop_chaincode_sdk::{Server, ServerSettings};
use ripstop_node::operations::Version;
use ripstop_node::{CancellationToken, logging, settings};
use tokio::signal::unix::{SignalKind, signal};

use crate::supervisor::SUPERVISED;
use crate::usage::{Usage, WRONG_USAGE};

/// A ledger or log could not be made durable: the node must not go on.
const DISK_FAILED: u8 = 3;

/// Runs one orderer.
pub(crate) async fn orderer(config: &Path) -> anyhow::Result<()> {
    let settings: ripstop_orderer::OrdererSettings = settings::load(config, "RIPSTOP_ORDERER")?;
    ripstop_orderer::run(settings, version(), told_to_end()?).await?;
    Ok(())
}

/// Runs one peer.
pub(crate) async fn peer(config: &Path) -> anyhow::Result<()> {
    let settings: ripstop_peer::settings::PeerSettings = settings::load(config, "RIPSTOP_PEER")?;
    ripstop_peer::run::run(settings, version(), told_to_end()?).await?;
    Ok(())
}

/// What this program says it is; `build.rs` knows the commit.
fn version() -> Version {
    let commit = option_env!("RIPSTOP_COMMIT").unwrap_or("unknown").to_owned();
    Version { commit, version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// Serves a sample contract at the address and under the package id that the environment names.
pub(crate) async fn sample(name: &str) -> anyhow::Result<()> {
    logging::init();
    let settings = ServerSettings::from_environment()?;
    let end = told_to_end()?;
    let contract = match name {
        "basic" => ripstop_samples::Basic,
        _ => bail!("there is no sample contract named {name}: basic is the one there is"),
    };
    Server::new(settings, contract).run(end.cancelled_owned()).await?;
    Ok(())
}

/// Cancelled on SIGTERM or SIGINT, and with the standard input where a supervisor holds it.
fn told_to_end() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let on_signal = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        on_signal.cancel();
    });
    if std::env::var_os(SUPERVISED).is_some() {
        let on_close = token.clone();
        // A thread of its own: reading standard input cannot be interrupted.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            on_close.cancel();
        });
    }
    Ok(token)
}

/// 2 for wrong usage, 3 when a disk failed under a node, 1 for every other failure.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Usage>() {
        return ExitCode::from(WRONG_USAGE);
    }
    let disk_failed = match error.downcast_ref::<ripstop_peer::run::Error>() {
        Some(error) => matches!(error, ripstop_peer::run::Error::Ledger(_)),
        None => error.downcast_ref::<ripstop_orderer::Error>().is_some_and(ripstop_orderer::Error::is_fatal),
    };
    if disk_failed { ExitCode::from(DISK_FAILED) } else { ExitCode::FAILURE }
}
