//! The official classes, as a process: `interop/node/reencode.js`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// One message on its way to the official class.
pub(crate) struct Sample {
    pub(crate) message: String,
    pub(crate) bytes: Vec<u8>,
}

/// What the official classes said: one line per sample.
pub(crate) struct Verdicts {
    pub(crate) lines: Vec<String>,
    pub(crate) all_equal: bool,
}

/// Lets the official classes decode and encode the samples.
pub(crate) fn reencode(samples: &[Sample]) -> Verdicts {
    let lines = samples.iter().map(|Sample { message, bytes }| {
        let line = serde_json::json!({ "message": message, "hex": hex::encode(bytes) });
        format!("{line}\n")
    });
    let output = run_script(&[], &lines.collect::<String>());
    assert!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stderr));
    Verdicts { lines: stdout_lines(&output), all_equal: output.status.success() }
}

/// The lines of `--list`, `--fields`, `--enums` or `--services` for these `.proto` files.
pub(crate) fn listed(mode: &str, files: &[String]) -> Vec<String> {
    let arguments: Vec<&str> = std::iter::once(mode).chain(files.iter().map(String::as_str)).collect();
    let output = run_script(&arguments, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stdout_lines(&output)
}

fn stdout_lines(output: &Output) -> Vec<String> {
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

fn run_script(arguments: &[&str], input: &str) -> Output {
    let project = installed_project();
    let mut child = Command::new("node")
        .arg(project.join("reencode.js"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test needs Node 20 or newer: install it so that `node` is found");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // A script that ends early closes its input; its exit code tells why.
    let _ = writer.join().unwrap();
    output
}

/// The npm project, with its packages: installed once if they are not there.
fn installed_project() -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../interop/node");
    // Another test may be installing: wait for it.
    let lock = File::open(project.join("package.json")).expect("interop/node belongs to this repository");
    lock.lock().unwrap();
    if !project.join("node_modules/.package-lock.json").exists() {
        let installed = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&project).output();
        let failure = match installed {
            Ok(output) if output.status.success() => return project,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        panic!("the official packages are missing: run `npm ci` in interop/node (tried, and it failed: {failure})");
    }
    project
}
