//! `ripstop ledger …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Json;

/// What to do with the ledger in a folder. No node runs for it.
#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Take a chain over from a Fabric peer's block files, and compare what becomes of it.
    #[command(
        after_help = "Examples:\n  ripstop ledger import --fabric chains/mychannel/blockfile_* --dir ./mychannel\n  ripstop ledger import --fabric blockfile_000000 --dir ./mychannel --trust-codes --json"
    )]
    Import(Import),
    /// Write the chain as block files of Fabric.
    #[command(after_help = "Example: ripstop ledger export ./ripstop-network/nodes/peer0.org1.example.com -o ./chain")]
    Export {
        #[command(flatten)]
        place: Place,
        /// Folder to write to, new or empty; CHANNEL-blocks by default.
        #[arg(short, long, value_name = "FOLDER")]
        output: Option<PathBuf>,
        #[command(flatten)]
        json: Json,
    },
    /// Check every block, and that index and state follow from the blocks; changes nothing.
    #[command(after_help = "Example: ripstop ledger verify ./ripstop-network/nodes/peer0.org1.example.com")]
    Verify {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        json: Json,
    },
    /// Build index and state again from the blocks; what was there is kept beside them.
    #[command(after_help = "Example: ripstop ledger rebuild ./ripstop-network/nodes/peer0.org1.example.com")]
    Rebuild {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        json: Json,
    },
}

/// Where a ledger is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Folder of a ledger (with `blocks` in it), or of a node or network that has one ledger.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// Options of `ledger import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Block files of a Fabric peer, in their order.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) fabric: Vec<PathBuf>,
    /// Folder for the ledger, new or empty.
    #[arg(long, value_name = "DIR", required = true)]
    pub(crate) dir: PathBuf,
    /// Take signatures and policies as judged; only compute version conflicts.
    #[arg(long)]
    pub(crate) trust_codes: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}
