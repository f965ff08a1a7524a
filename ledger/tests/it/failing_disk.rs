//! A process whose disk is full or breaks. Without space it takes no blocks, still reads,
//! and goes on by itself once there is space. After an error of the disk or a failed sync
//! it ends, and never tries the sync again. The next process has every reported block.
//!
//! System calls are made to fail by `failing_calls.c`, loaded before the C library: it
//! needs the C compiler that LevelDB needs anyway. Real lack of space comes from a limit on
//! file sizes, and from a small file system in memory where the machine allows one.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use ripstop_ledger::store::LevelDbStores;
use ripstop_ledger::{CommitError, Ledger, LedgerError, Options};
use sha2::{Digest, Sha256};

use crate::build::{CHANNEL, Sets, checked, commit, endorsed, genesis, next_block, sets};
use crate::environment::fast_folder;

const FOLDER: &str = "RIPSTOP_TEST_FAILING_LEDGER";
/// A file that takes the space which the process is to miss; it is removed after a while.
const BALLAST: &str = "RIPSTOP_TEST_BALLAST";
const BLOCKS: u64 = 60;
const ATTEMPTS: usize = 4;

/// How the process says that it ended for good, and that it gave up waiting for space.
const BROKEN: i32 = 3;
const STILL_FULL: i32 = 4;
const NOT_OPENED: i32 = 5;

const EIO: &str = "5";
const EFBIG: &str = "27";
const ENOSPC: &str = "28";
const EDQUOT: &str = "122";

fn options() -> Options {
    let stores = LevelDbStores { block_cache_bytes: 1 << 20, write_buffer_bytes: 64 << 10 };
    Options { stores: Arc::new(stores), ..Options::default() }
}

/// One row per block, hard to compress, beside the number of the last block.
fn row(number: u64) -> Sets {
    let noise =
        (0..200_u64).map(|part| hex::encode(Sha256::digest([number.to_le_bytes(), part.to_le_bytes()].concat())));
    sets().write("last", &number.to_string()).write(&format!("row {number:06}"), &noise.collect::<String>())
}

fn commit_all(folder: &Path) -> i32 {
    let ledger = match Ledger::open(folder, options()) {
        Ok(ledger) => ledger,
        Err(error) => return tell(NOT_OPENED, &error.to_string()),
    };
    while ledger.height() <= BLOCKS {
        let number = ledger.height();
        let block = checked(next_block(&ledger, vec![endorsed(&format!("tx {number}"), &row(number))]));
        for attempt in 1.. {
            let outcome = ledger.commit(block.clone());
            require_reads(&ledger);
            match outcome {
                Ok(_) => break,
                Err(CommitError::NoSpace { .. }) if attempt == ATTEMPTS => return STILL_FULL,
                Err(CommitError::NoSpace { reason, .. }) => {
                    tell(0, &format!("no space: {reason}"));
                    if let (true, Some(ballast)) = (attempt > 1, std::env::var_os(BALLAST)) {
                        let _ = std::fs::remove_file(ballast);
                    }
                }
                Err(error) => {
                    assert!(matches!(ledger.commit(block), Err(CommitError::Fatal { .. })));
                    return tell(BROKEN, &error.to_string());
                }
            }
        }
        tell(0, &format!("committed {number}"));
    }
    0
}

/// What was committed can be read.
fn require_reads(ledger: &Ledger) {
    let last = ledger.height() - 1;
    assert_eq!(ledger.block(last).unwrap().unwrap().header.as_ref().unwrap().number, last);
    if last > 0 {
        assert_eq!(ledger.state().get("cc", "last").unwrap().unwrap().value, last.to_string());
    }
}

fn tell(code: i32, line: &str) -> i32 {
    println!("\n{line}");
    code
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn commits_as_long_as_the_disk_allows() {
    if let Ok(folder) = std::env::var(FOLDER) {
        std::process::exit(commit_all(Path::new(&folder)));
    }
}

/// A ledger that holds a genesis block.
fn begun() -> tempfile::TempDir {
    let folder = fast_folder();
    drop(Ledger::create(folder.path(), CHANNEL, genesis(), options()).unwrap());
    folder
}

/// The program and arguments of the process.
fn process() -> [String; 5] {
    let program = std::env::current_exe().unwrap().display().to_string();
    let test = "failing_disk::commits_as_long_as_the_disk_allows";
    [program, "--exact".into(), test.into(), "--ignored".into(), "--nocapture".into()]
}

fn reported(output: &Output) -> u64 {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.strip_prefix("committed ")?.parse().ok()).next_back().unwrap_or(0)
}

/// The next process has what the one before reported, and goes on.
fn require_recovery(folder: &Path, reported: u64, place: &str) {
    let ledger = Ledger::open(folder, options()).unwrap_or_else(|error: LedgerError| panic!("{place}: {error}"));
    let last = ledger.height() - 1;
    assert!(last >= reported, "{place}: {last} blocks are left of {reported}");
    let rows = ledger.state().range("cc", "row", "").map(|row| row.unwrap().1.value).collect::<Vec<_>>();
    let expected = (1..=last).map(|number| row(number).0.namespaces[0].public.writes[1].value.clone());
    assert!(rows.into_iter().eq(expected), "{place}: other rows");
    commit(&ledger, &[row(last + 1)]);
}

/// Compiles `failing_calls.c`.
fn failing_calls(folder: &Path) -> PathBuf {
    let library = folder.join("failing_calls.so");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/failing_calls.c");
    let output =
        Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// Runs the process with failing calls. Returns what it said and what failed.
fn run_with(library: &Path, folder: &Path, case: &Case) -> (Output, Vec<String>) {
    let log = folder.join("failed calls");
    let _ = std::fs::remove_file(&log);
    let [program, arguments @ ..] = process();
    let output = Command::new(program)
        .args(arguments)
        .env(FOLDER, folder)
        .env("LD_PRELOAD", library)
        .env("FAIL_CALL", case.call)
        .env("FAIL_PATH", case.path)
        .env("FAIL_FROM", case.from.to_string())
        .env("FAIL_COUNT", case.count.to_string())
        .env("FAIL_ERRNO", case.errno)
        .env("FAIL_LOG", &log)
        .output()
        .unwrap();
    let failed = std::fs::read_to_string(log).unwrap_or_default();
    (output, failed.lines().map(str::to_owned).collect())
}

#[derive(Debug, Clone, Copy)]
struct Case {
    call: &'static str,
    path: &'static str,
    from: u32,
    count: u32,
    errno: &'static str,
}

/// The cases of one call on files of one folder, with several places each.
fn cases(call: &'static str, path: &'static str, count: u32, errnos: &[&'static str]) -> Vec<Case> {
    let places = [1, 2, 7, 23, 38];
    let case = |errno, from| Case { call, path, from, count, errno };
    errnos.iter().flat_map(|errno| places.map(|from| case(*errno, from))).collect()
}

#[test]
fn a_process_without_space_goes_on_when_there_is_some() {
    let folder = tempfile::tempdir().unwrap();
    let library = failing_calls(folder.path());
    let mut cases_by_place = cases("write", "/blocks/", 2, &[ENOSPC, EDQUOT, EFBIG]);
    cases_by_place.extend(cases("write", "/derived/", 2, &[ENOSPC, EFBIG]));
    let mut stopped = 0;
    for case in cases_by_place {
        let ledger = begun();
        let (output, failed) = run_with(&library, ledger.path(), &case);
        let text = String::from_utf8_lossy(&output.stdout);
        let place = format!("{case:?}: {failed:?} {text}");
        assert!(!failed.is_empty(), "{place}");
        // While opening LevelDB there is nothing to wait for: the next start tries again.
        let at_start = output.status.code() == Some(NOT_OPENED) && !text.contains("committed");
        assert!(at_start || output.status.code() == Some(0), "{:?} {place}", output.status);
        assert!(at_start || reported(&output) == BLOCKS, "{place}");
        stopped += u32::from(text.contains("no space"));
        require_recovery(ledger.path(), reported(&output), &place);
    }
    assert!(stopped > 15, "{stopped} of the runs stopped for lack of space");
}

#[test]
fn a_process_whose_disk_breaks_ends_and_never_tries_the_sync_again() {
    let folder = tempfile::tempdir().unwrap();
    let library = failing_calls(folder.path());
    let mut cases_by_place = cases("sync", "/blocks/", 1, &[EIO, ENOSPC]);
    cases_by_place.extend(cases("write", "/blocks/", 1, &[EIO]));
    cases_by_place.extend(cases("write", "/derived/", 1, &[EIO]));
    cases_by_place.extend(cases("sync", "/derived/", 1, &[EIO]));
    let mut ended = 0;
    for case in cases_by_place {
        let ledger = begun();
        let (output, failed) = run_with(&library, ledger.path(), &case);
        let text = String::from_utf8_lossy(&output.stdout);
        let place = format!("{case:?}: {failed:?} {text}");
        let code = output.status.code();
        if failed.is_empty() {
            assert_eq!(code, Some(0), "{place}");
            continue;
        }
        let at_start = code == Some(NOT_OPENED) && !text.contains("committed");
        let rebuilt_at_start = case.path == "/derived/" && code == Some(0);
        assert!(at_start || rebuilt_at_start || code == Some(BROKEN), "{:?} {place}", output.status);
        ended += u32::from(code == Some(BROKEN));
        if case.path == "/blocks/" {
            assert_eq!(failed.len(), 1, "something was synced after the failure: {place}");
            assert_eq!(code, Some(BROKEN), "{place}");
        }
        require_recovery(ledger.path(), reported(&output), &place);
    }
    assert!(ended >= 15, "{ended} of the processes ended");
}

#[test]
fn a_process_under_a_limit_of_file_sizes_waits_and_loses_nothing() {
    let ledger = begun();
    let script = "trap '' XFSZ; ulimit -f 500; exec \"$@\"";
    let output =
        Command::new("sh").args(["-c", script, "sh"]).args(process()).env(FOLDER, ledger.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(STILL_FULL), "{:?} {text}", output.status.signal());
    assert!(text.contains("no space") && (1..BLOCKS).contains(&reported(&output)), "{text}");
    require_recovery(ledger.path(), reported(&output), &text);
}

#[test]
fn a_process_on_a_small_disk_goes_on_when_something_else_is_removed() {
    let ledger = begun();
    let script = "mount -t tmpfs -o size=10m none \"$1\" && head -c 9500000 /dev/zero >\"$1/ballast\" || exit 77
        cp -r \"$2\" \"$1/ledger\"; shift 2; exec \"$@\"";
    let disk = tempfile::tempdir().unwrap();
    let run = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([disk.path(), ledger.path()])
        .args(process())
        .env(FOLDER, disk.path().join("ledger"))
        .env(BALLAST, disk.path().join("ballast"))
        .output();
    let output = match run {
        Ok(output) if output.status.code() != Some(77) && output.status.code() != Some(1) => output,
        other => {
            // Not through the test's captured output: this must be seen.
            let why = other
                .map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stderr).into_owned());
            let text = "a small disk could not be mounted, so only injected failures were tested";
            writeln!(std::io::stderr(), "{text}: {}", why.trim()).unwrap();
            return;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text} {}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("no space") && reported(&output) == BLOCKS, "{text}");
}
