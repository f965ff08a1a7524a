//! The command line: what can be typed, and nothing of what it does.

mod ledger;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::ledger::{Import, Ledger, Place};
use crate::topology::{Cutting, Identities};

/// Heading of the options that every command has.
const COMMON: &str = "Which network, and who asks";

/// A permissioned ledger that is Fabric on the wire: orderer, peer and tools in one program.
#[derive(Debug, Parser)]
#[command(name = "ripstop", version, about)]
#[command(
    after_help = "Examples:\n  ripstop network up\n  ripstop submit basic CreateAsset asset7 green 10 Ada 500\n  ripstop query basic GetAllAssets"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which network to talk to, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Folder of the network.
    #[arg(long, global = true, help_heading = COMMON, default_value = "./ripstop-network")]
    pub(crate) dir: PathBuf,
    /// Channel; the network's own by default.
    #[arg(long, global = true, help_heading = COMMON, value_parser = channel_name)]
    pub(crate) channel: Option<String>,
    /// Peer to ask, by its name; a peer of the user's organization by default.
    #[arg(long, global = true, help_heading = COMMON)]
    pub(crate) peer: Option<String>,
    /// Who asks: USER@ORG, for instance User1@org1.
    #[arg(long = "as", global = true, help_heading = COMMON, value_name = "USER@ORG")]
    pub(crate) user: Option<User>,
}

/// Fabric's rule for names of channels, which are also names of files here.
fn channel_name(text: &str) -> Result<String, &'static str> {
    let rest =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || ".-".contains(character);
    let fits = text.starts_with(|first: char| first.is_ascii_lowercase()) && text.chars().all(rest);
    if fits && text.len() < 250 {
        return Ok(text.to_owned());
    }
    Err("a channel's name is a lower-case letter, then up to 248 of a-z, 0-9, '.' and '-'")
}

/// `HOST:PORT`
fn address(text: &str) -> Result<String, &'static str> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("write HOST:PORT"),
    }
}

/// A user of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// `User1`, `Admin`.
    pub(crate) name: String,
    /// MSP id, domain, or the domain's first part.
    pub(crate) organization: String,
}

impl std::str::FromStr for User {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once('@') {
            Some((name, organization)) if !name.is_empty() && !organization.is_empty() => {
                Ok(Self { name: name.to_owned(), organization: organization.to_owned() })
            }
            _ => Err("write USER@ORG, for instance User1@org1"),
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a local network: up, status, down.
    #[command(
        subcommand,
        after_help = "Examples:\n  ripstop network up\n  ripstop network kill peer0.org1\n  ripstop network status"
    )]
    Network(Network),
    /// Package and deploy chaincode, list what is deployed.
    #[command(subcommand, after_help = "Example: ripstop chaincode list")]
    Chaincode(Chaincode),
    /// The channels of a peer, and what one of them is.
    #[command(subcommand, after_help = "Example: ripstop channel info mychannel")]
    Channel(Channel),
    /// Shell exports for Fabric's `peer` program and the SDK samples.
    #[command(after_help = "Example: eval \"$(ripstop env org1)\" && peer channel list")]
    Env {
        /// Organization: org1, org1.example.com or Org1MSP.
        organization: String,
    },
    /// Print a block, down to the read and write sets.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    #[command(
        after_help = "Examples:\n  ripstop block newest\n  ripstop block 3 --json\n  ripstop block decode blockfile_000000"
    )]
    Block {
        /// Number of the block, or `newest`.
        #[arg(required = true, value_name = "N")]
        number: Option<BlockNumber>,
        #[command(flatten)]
        json: Json,
        #[command(subcommand)]
        decode: Option<Decode>,
    },
    /// Print a transaction, where it stands and what became of it.
    #[command(after_help = "Example: ripstop tx f6a2c36dcd7eb30c43bc4e3fa5ac6b18c4a68a3bc36b9e7cd90bc4fd7a2b7e3f")]
    Tx {
        /// Its id.
        tx_id: String,
        #[command(flatten)]
        json: Json,
    },
    /// Say why a transaction is invalid, and what to do.
    #[command(after_help = "Example: ripstop why f6a2c36dcd7eb30c43bc4e3fa5ac6b18c4a68a3bc36b9e7cd90bc4fd7a2b7e3f")]
    Why {
        /// Its id.
        tx_id: String,
        #[command(flatten)]
        json: Json,
    },
    /// Print what a key holds, and prove it.
    #[command(
        after_help = "Examples:\n  ripstop state basic asset1\n  ripstop state basic asset1 --at 6\n  ripstop state basic asset1 --prove > asset1.json"
    )]
    State(State),
    /// Check a file that `state --prove` wrote; needs no network.
    #[command(
        after_help = "Example: ripstop verify-proof asset1.json --orgs 2 \\\n  --msp organizations/peerOrganizations/org1.example.com/msp \\\n  --msp organizations/peerOrganizations/org2.example.com/msp"
    )]
    VerifyProof(VerifyProof),
    /// Submit a transaction and wait until it is committed.
    #[command(after_help = "Example: ripstop submit basic CreateAsset asset7 green 10 Ada 500 --as User1@org2")]
    Submit(Call),
    /// Ask a chaincode without ordering anything.
    #[command(after_help = "Example: ripstop query basic ReadAsset asset7")]
    Query(Call),
    /// Chains of Fabric in and out; check and mend a ledger's folder.
    #[command(subcommand, after_help = "Example: ripstop ledger verify ./ripstop-network/nodes/peer0.org1.example.com")]
    Ledger(Ledger),
    /// Run one orderer.
    #[command(after_help = "Example: ripstop orderer --config orderer.toml")]
    Orderer(Node),
    /// Run one peer.
    #[command(after_help = "Example: ripstop peer --config peer.toml")]
    Peer(Node),
    /// Print the definitions that let a shell complete commands and options.
    #[command(after_help = "Example: ripstop completions bash > ~/.local/share/bash-completion/completions/ripstop")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Serve a sample contract (the network's supervisor does).
    #[command(hide = true)]
    Sample {
        /// Name of the sample.
        name: String,
    },
}

/// Which block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockNumber(pub(crate) u64);

impl std::str::FromStr for BlockNumber {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            // Peers take the largest number for the newest block.
            "newest" => Ok(Self(u64::MAX)),
            _ => text.parse().map(Self).map_err(|_| "write a number, or newest"),
        }
    }
}

/// `ripstop block decode`
#[derive(Debug, Subcommand)]
pub(crate) enum Decode {
    /// Print what a file holds: a Fabric block file, a block or an envelope.
    #[command(after_help = "Example: ripstop block decode mychannel.block --json")]
    Decode {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        json: Json,
    },
}

/// `ripstop channel …`
#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    /// The channels that a peer has joined.
    #[command(after_help = "Example: ripstop channel list --peer peer0.org2")]
    List(Json),
    /// Height, organizations, orderers and limits of a channel.
    #[command(after_help = "Example: ripstop channel info mychannel")]
    Info {
        /// Its name.
        #[arg(value_parser = channel_name)]
        name: String,
        #[command(flatten)]
        json: Json,
    },
}

/// `ripstop network …`
#[derive(Debug, Subcommand)]
pub(crate) enum Network {
    /// Make and start a network, or resume the one in the folder.
    #[command(
        after_help = "Examples:\n  ripstop network up\n  ripstop network up --orgs 3 --peers-per-org 2 --dir ./big --ports free"
    )]
    Up(Box<Up>),
    /// What runs, where, and how far it is.
    #[command(after_help = "Example: ripstop network status --json")]
    Status(Json),
    /// Stop the network; its folder stays and `up` resumes it.
    #[command(after_help = "Example: ripstop network down")]
    Down(Json),
    /// Stop the network and delete its folder.
    #[command(after_help = "Example: ripstop network reset --dir ./big")]
    Reset(Json),
    /// What a node or a contract printed.
    #[command(after_help = "Example: ripstop network logs peer0.org1 -f")]
    Logs {
        /// Node or contract, by its name or the beginning of it.
        name: String,
        /// Go on with what it prints from now on, until Ctrl-C.
        #[arg(short, long)]
        follow: bool,
    },
    /// End a node or contract and let it write everything first.
    #[command(after_help = "Example: ripstop network stop orderer")]
    Stop(One),
    /// End a node or contract at once, as a crash would (SIGKILL).
    #[command(after_help = "Example: ripstop network kill peer0.org1")]
    Kill(One),
    /// Start a node or contract again.
    #[command(after_help = "Example: ripstop network start peer0.org1")]
    Start(One),
    /// Be the parent of the network's processes.
    #[command(hide = true)]
    Supervise,
}

/// One node or contract of the network.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Node or contract, by its name or the beginning of it.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Options of `network up`; they count when the network is made, and must not differ later.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Organizations with peers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) orgs: Option<u16>,
    /// Peers of each organization: one number for all, or one for each.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) peers_per_org: Vec<u16>,
    /// Raft orderers: 1, 3 or 5.
    #[arg(long, value_name = "N")]
    pub(crate) orderers: Option<u16>,
    /// Key kind of the users.
    #[arg(long, value_name = "KIND")]
    pub(crate) identities: Option<Identities>,
    /// Longest time a transaction waits for its block, such as 2s or 500ms.
    #[arg(long, value_name = "TIME", value_parser = ripstop_node::settings::duration::parse)]
    pub(crate) batch_timeout: Option<std::time::Duration>,
    /// Most transactions in a block.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_message_count: Option<u32>,
    /// A block is cut before it grows beyond this many bytes.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) preferred_max_bytes: Option<u32>,
    /// No transaction may be larger than this many bytes.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) absolute_max_bytes: Option<u32>,
    /// Consecutive ports from this one on.
    #[arg(long, value_name = "P", conflicts_with = "ports")]
    pub(crate) port_base: Option<u16>,
    /// Which port numbers.
    #[arg(long, value_name = "PLAN")]
    pub(crate) ports: Option<PortPlan>,
    /// How blocks are cut.
    #[arg(long, value_name = "HOW")]
    pub(crate) cutting: Option<Cutting>,
    /// Stay, and stop the network on Ctrl-C.
    #[arg(long)]
    pub(crate) foreground: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Where ports come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PortPlan {
    /// 7050, 7051, 9051 …, as in Fabric's test-network.
    Fabric,
    /// Whatever is free.
    Free,
}

/// `ripstop chaincode …`
#[derive(Debug, Subcommand)]
pub(crate) enum Chaincode {
    /// Write a package and print its id.
    #[command(after_help = "Example: ripstop chaincode package --name mine --version 1.0 --address 127.0.0.1:9999")]
    Package {
        #[command(flatten)]
        source: Source,
        /// File to write; NAME_VERSION.tar.gz by default.
        #[arg(short, long)]
        output: Option<PathBuf>,
        #[command(flatten)]
        json: Json,
    },
    /// Install, approve and commit a chaincode; again with anything changed is an upgrade.
    #[command(
        after_help = "Example: ripstop chaincode deploy --name mine --version 1.0 --address 127.0.0.1:9999 \\\n             --policy \"AND('Org1MSP.peer','Org2MSP.peer')\""
    )]
    Deploy {
        #[command(flatten)]
        source: Source,
        /// Endorsement policy; a majority of the organizations by default.
        #[arg(long)]
        policy: Option<String>,
        /// The first call must be an init call.
        #[arg(long)]
        init_required: bool,
        #[command(flatten)]
        json: Json,
    },
    /// The definitions that are committed on the channel.
    #[command(after_help = "Example: ripstop chaincode list --json")]
    List(Json),
}

/// Which chaincode, and where it is served.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Name on the channel.
    #[arg(long)]
    pub(crate) name: String,
    /// Version, free text.
    #[arg(long)]
    pub(crate) version: String,
    /// HOST:PORT of the chaincode's service.
    #[arg(long, value_parser = address)]
    pub(crate) address: String,
}

/// One key of the state.
#[derive(Debug, Args)]
pub(crate) struct State {
    /// A chaincode, or '' for the channel's configuration.
    pub(crate) namespace: String,
    /// The key.
    pub(crate) key: String,
    /// After how many blocks; the newest by default, the last 128 can be asked for.
    #[arg(long, value_name = "HEIGHT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) at: Option<u64>,
    /// Print a proof file, signed by all peers that can be reached.
    #[arg(long)]
    pub(crate) prove: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// A proof, and whom to trust.
#[derive(Debug, Args)]
pub(crate) struct VerifyProof {
    /// The proof.
    pub(crate) file: PathBuf,
    /// MSP folders of trusted organizations; only their authorities count.
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
    pub(crate) msp: Vec<PathBuf>,
    /// How many of them must have signed; more than half by default.
    #[arg(long, value_name = "N")]
    pub(crate) orgs: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// One call of a chaincode.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// Name of the chaincode.
    pub(crate) chaincode: String,
    /// Name of the function.
    pub(crate) function: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Whether a program reads the answer.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Json {
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// One node of a production network.
#[derive(Debug, Args)]
pub(crate) struct Node {
    /// Its configuration file.
    #[arg(long)]
    pub(crate) config: PathBuf,
}
