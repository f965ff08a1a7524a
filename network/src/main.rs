//! `ripstop`: one program that runs a node, brings a local network up, deploys chaincode,
//! submits and queries.
//!
//! Everything here wires the other rooms together or talks to running nodes over the wire.
//! Nothing is decided about blocks, policies or state: that is for orderer, peer and ledger.
//!
//! Read next: [`cli`] for what can be typed, [`up`] for how a network comes to life,
//! [`supervisor`] for who keeps it running.

mod cli;
mod usage;

mod folder;
mod naming;
mod output;
mod ports;
mod shell;
mod topology;

mod material;
mod node_config;
mod package;
mod peer_program;

mod decoded;

mod processes;
mod programs;
mod supervisor;

mod health;
mod http;
mod lifecycle;
mod participation;
mod session;

mod blocks;
mod channels;
mod control;
mod decode;
mod deploy;
mod down;
mod env;
mod invoke;
mod ledger;
mod logs;
mod reset;
mod state;
mod status;
mod table;
mod up;
mod verify_proof;
mod why;

use std::process::ExitCode;

use anyhow::Context;

use crate::cli::{Chaincode, Channel, Cli, Command, Decode, Network};
use crate::control::End;
use crate::folder::Folder;

fn main() -> ExitCode {
    let cli = match usage::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) if output::reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ripstop: {error:#}");
            programs::exit_code(&error)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        // Nodes use every core; a command that waits for answers needs one thread.
        Command::Orderer(node) => block_on_all_cores(programs::orderer(&node.config)),
        Command::Peer(node) => block_on_all_cores(programs::peer(&node.config)),
        Command::Ledger(command) => ledger::run(&command),
        Command::Sample { name } => block_on_all_cores(programs::sample(&name)),
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command(cli)),
    }
}

fn block_on_all_cores(program: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Runtime::new()?.block_on(program)?;
    Ok(ExitCode::SUCCESS)
}

/// What a shell needs to complete commands, in the shell's own language.
fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut usage::command(), "ripstop", &mut script);
    output::print(&String::from_utf8(script)?)
}

async fn command(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { target, command } = cli;
    let folder = Folder::new(&target.dir)?;
    match command {
        Command::Network(Network::Up(options)) => up::up(&folder, &target, &options).await?,
        Command::Network(Network::Status(json)) => return status::status(&folder, json.json).await,
        Command::Network(Network::Down(json)) => down::down(&folder, json.json).await?,
        Command::Network(Network::Reset(json)) => reset::reset(&folder, json.json).await?,
        Command::Network(Network::Logs { name, follow }) => logs::logs(&folder, &name, follow).await?,
        Command::Network(Network::Stop(one)) => {
            control::end(&folder, &one.name, End::Stopped, one.json.json).await?;
        }
        Command::Network(Network::Kill(one)) => control::end(&folder, &one.name, End::Killed, one.json.json).await?,
        Command::Network(Network::Start(one)) => control::start(&folder, &one.name, one.json.json).await?,
        Command::Network(Network::Supervise) => {
            ripstop_node::logging::init();
            supervisor::supervise(&folder).await?;
        }
        Command::Chaincode(Chaincode::Package { source, output, json }) => {
            deploy::write_package(&source, output, json.json)?;
        }
        Command::Chaincode(Chaincode::Deploy { source, policy, init_required, json }) => {
            deploy::deploy(&folder, &target, &source, policy.as_deref(), init_required, json.json).await?;
        }
        Command::Chaincode(Chaincode::List(json)) => deploy::list(&folder, &target, json.json).await?,
        Command::Channel(Channel::List(json)) => channels::list(&folder, &target, json.json).await?,
        Command::Channel(Channel::Info { name, json }) => channels::show(&folder, target, name, json.json).await?,
        Command::Env { organization } => env::print(&folder, &target, &organization)?,
        Command::Block { decode: Some(Decode::Decode { file, json }), .. } => decode::decode(&file, json.json)?,
        Command::Block { number, json, .. } => {
            let number = number.context("a block without a number was typed")?;
            blocks::block(&folder, &target, number, json.json).await?;
        }
        Command::Tx { tx_id, json } => blocks::transaction(&folder, &target, &tx_id, json.json).await?,
        Command::Completions { shell } => completions(shell)?,
        Command::Why { tx_id, json } => return why::why(&folder, &target, &tx_id, json.json).await,
        Command::State(key) => state::state(&folder, &target, &key).await?,
        Command::VerifyProof(proof) => verify_proof::verify_proof(&proof)?,
        Command::Submit(call) => return invoke::submit(&folder, &target, &call).await,
        Command::Query(call) => invoke::query(&folder, &target, &call).await?,
        Command::Orderer(_) | Command::Peer(_) | Command::Sample { .. } | Command::Ledger(_) => {
            anyhow::bail!("this command is run without the runtime of those that ask nodes")
        }
    }
    Ok(ExitCode::SUCCESS)
}
