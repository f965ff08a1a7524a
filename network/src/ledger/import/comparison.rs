//! What a chain came to here, beside what Fabric had stored of it.

use std::collections::BTreeMap;
use std::fmt;

use ripstop_ledger::{Difference, Judgement};
use ripstop_proto::block::block_roots;
use ripstop_proto::common::Block;
use serde_json::{Value, json};

/// Counts over all blocks so far.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) blocks: u64,
    transactions: u64,
    /// How often each code was given here.
    codes: BTreeMap<&'static str, u64>,
    compared: Counts,
    differing: Counts,
    /// Root of the state after the last block; empty before the first.
    state_root: String,
    /// Number of a block, and the first thing that differs.
    first: Option<(u64, Difference)>,
}

#[derive(Debug, Default)]
struct Counts {
    codes: u64,
    commit_hashes: u64,
}

impl Comparison {
    /// Adds a block as it was committed here and as it stood in the file.
    pub(super) fn add(&mut self, ours: &Block, theirs: &Block) {
        let number = ours.header.as_ref().map_or(0, |header| header.number);
        self.state_root = block_roots(ours).map(|roots| hex::encode(roots.state_root)).unwrap_or_default();
        let (ours, theirs) = (Judgement::of(ours), Judgement::of(theirs));
        self.blocks += 1;
        for code in ours.codes.iter().flatten() {
            self.transactions += 1;
            *self.codes.entry(code.as_str_name()).or_default() += 1;
        }
        self.compared.codes += theirs.codes.as_ref().map_or(0, |codes| codes.len() as u64);
        self.compared.commit_hashes += u64::from(theirs.commit_hash.is_some());
        for difference in ours.differences(&theirs) {
            match difference {
                Difference::Code { .. } => self.differing.codes += 1,
                Difference::CommitHash { .. } => self.differing.commit_hashes += 1,
            }
            self.first.get_or_insert((number, difference));
        }
    }

    /// Whether everything that could be compared is equal.
    pub(super) fn is_equal(&self) -> bool {
        self.first.is_none()
    }

    /// `codes_equal` and `commit_hashes_equal` are null where the files hold none.
    pub(super) fn as_json(&self) -> Value {
        let equal = |compared: u64, differing: u64| (compared > 0).then_some(differing == 0);
        json!({
            "blocks": self.blocks,
            "transactions": self.transactions,
            "codes": self.codes,
            "codes_equal": equal(self.compared.codes, self.differing.codes),
            "commit_hashes": self.compared.commit_hashes,
            "commit_hashes_equal": equal(self.compared.commit_hashes, self.differing.commit_hashes),
            "state_root": self.state_root,
            "first_difference": self.first.as_ref().map(|(block, difference)| first_as_json(*block, difference)),
        })
    }
}

fn first_as_json(block: u64, difference: &Difference) -> Value {
    match difference {
        Difference::Code { tx_index, ours, theirs } => json!({
            "block": block, "tx_index": tx_index, "ours": ours.as_str_name(), "theirs": theirs.as_str_name(),
        }),
        Difference::CommitHash { ours, theirs } => json!({
            "block": block, "tx_index": null, "ours": hex::encode(ours), "theirs": hex::encode(theirs),
        }),
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "blocks         {} with {} transactions", self.blocks, self.transactions)?;
        let codes: Vec<String> = self.codes.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(formatter, "codes          {}", codes.join(", "))?;
        writeln!(formatter, "               {}", told(self.compared.codes, self.differing.codes))?;
        write!(formatter, "commit hashes  {}", told(self.compared.commit_hashes, self.differing.commit_hashes))?;
        let Some((block, difference)) = &self.first else { return Ok(()) };
        match difference {
            Difference::Code { tx_index, ours, theirs } => write!(
                formatter,
                "\nfirst          transaction {tx_index} of block {block} is {} here and {} in the file",
                ours.as_str_name(),
                theirs.as_str_name()
            ),
            Difference::CommitHash { ours, theirs } => write!(
                formatter,
                "\nfirst          the commit hash of block {block} is {} here and {} in the file",
                hex::encode(ours),
                hex::encode(theirs)
            ),
        }
    }
}

fn told(compared: u64, differing: u64) -> String {
    match (compared, differing) {
        (0, _) => "none in the files to compare with".to_owned(),
        (compared, 0) => format!("all {compared} equal to those in the files"),
        (compared, differing) => format!("{differing} of {compared} DIFFER from those in the files"),
    }
}
