//! What the ledger costs, over LevelDB and the disk of the working folder.
//!
//! ```text
//! cargo bench -p ripstop-ledger                     everything, a few minutes
//! cargo bench -p ripstop-ledger -- commit::durable  what has this in its name
//! ```
//! Each line gives the median of several rounds and their spread, and the processor time of
//! all threads, LevelDB's own included. What is compared runs in turns in one process.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop where it is")]

mod chain;
mod commits;
mod envelopes;
mod measure;
mod parts;
mod ranges;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let benchmarks: [(&str, fn()); 8] = [
        ("commit::durable", commits::durable),
        ("commit::roots", commits::roots),
        ("commit::sync", commits::sync),
        ("commit::disk", commits::disk),
        ("mvcc::judge", parts::judge),
        ("committed::prefetch", parts::prefetch),
        ("state::range", ranges::range),
        ("state::tombstones", ranges::tombstones),
    ];
    for (name, benchmark) in benchmarks.into_iter().filter(|(name, _)| is_wanted(name)) {
        println!("# {name}");
        benchmark();
    }
}
