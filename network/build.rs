//! Tells the program which commit it is built from, for `/version`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(commit) = commit() {
        println!("cargo:rustc-env=RIPSTOP_COMMIT={commit}");
    }
}

/// None without git, and outside a checkout: another repository's commit would say nothing.
fn commit() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.canonicalize().ok()?;
    let found = Path::new(&git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
    if found != root {
        return None;
    }
    // HEAD's own log grows when the commit changes, and at no other time.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"])
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
