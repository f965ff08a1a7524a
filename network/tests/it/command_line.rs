//! What the program does with networks, folders and ports.

use std::net::TcpListener;
use std::process::Command;

use crate::network::{Network, RIPSTOP, text};

#[test]
fn a_network_is_used_stopped_and_resumed_with_its_data() {
    let network = Network::up(&[]);
    let submitted = network.json(&["submit", "--json", "basic", "CreateAsset", "asset70", "green", "10", "Ada", "500"]);
    assert_eq!(submitted["code"], "VALID");
    assert_eq!(submitted["code_number"], 0);
    assert_eq!(submitted["tx_index"], 0);
    assert_eq!(submitted["tx_id"].as_str().unwrap().len(), 64);
    for stage in ["endorse", "order", "commit", "total"] {
        assert!(submitted["stages_ms"][stage].as_f64().unwrap() > 0.0, "{submitted}");
    }
    let listed = network.json(&["chaincode", "list", "--json"]);
    assert_eq!(listed["chaincodes"][0]["name"], "basic");

    // Up again changes nothing, and the processes stay the same.
    let before = network.json(&["network", "status", "--json"]);
    network.ok(&["network", "up"]);
    let again = network.json(&["network", "status", "--json"]);
    assert_eq!(before, again);
    let nodes = before["nodes"].as_array().unwrap();
    assert!(nodes.iter().all(|node| node["state"] == "up"));
    let of = |role: &str| nodes.iter().filter(|node| node["role"] == role).collect::<Vec<_>>();
    assert_eq!((of("orderer").len(), of("peer").len()), (3, 2));
    assert_eq!(of("orderer").iter().filter(|node| node["leader"] == true).count(), 1);
    assert_eq!(of("peer")[0]["height"], submitted["block"].as_u64().unwrap() + 1);

    network.ok(&["network", "down"]);
    let down = network.json(&["network", "status", "--json"]);
    assert!(down["nodes"].as_array().unwrap().iter().all(|node| node["state"] == "down" && node["pid"].is_null()));
    network.ok(&["network", "down"]);

    network.ok(&["network", "up"]);
    let asset = network.ok(&["query", "basic", "ReadAsset", "asset70", "--as", "User1@org2"]);
    assert!(asset.contains("\"Owner\":\"Ada\""), "{asset}");
    let refused = network.refused(&["query", "basic", "ReadAsset", "asset71"]);
    assert!(refused.contains("The asset asset71 does not exist"), "{refused}");
    let refused = network.refused(&["submit", "basic", "TransferAsset", "asset71", "Eve"]);
    assert!(refused.contains("The asset asset71 does not exist"), "{refused}");
    assert!(refused.contains("peer0.org1.example.com"), "the refusing peer is not named: {refused}");
}

#[test]
fn deploying_again_is_an_upgrade_only_when_something_changed() {
    let network = Network::up(&[]);
    let deploy = |version: &str, policy: &str| {
        network.json(&[
            "chaincode",
            "deploy",
            "--json",
            "--name",
            "other",
            "--version",
            version,
            "--address",
            "127.0.0.1:9",
            "--policy",
            policy,
        ])
    };
    let first = deploy("1.0", "OR('Org1MSP.peer','Org2MSP.peer')");
    assert_eq!((&first["sequence"], &first["changed"]), (&1.into(), &true.into()));
    let same = deploy("1.0", "OR('Org1MSP.peer','Org2MSP.peer')");
    assert_eq!((&same["sequence"], &same["changed"]), (&1.into(), &false.into()));
    let policy = deploy("1.0", "OR('Org1MSP.peer')");
    assert_eq!(policy["sequence"], 2);
    let version = deploy("1.1", "OR('Org1MSP.peer')");
    assert_eq!(version["sequence"], 3);
    assert_ne!(version["package_id"], first["package_id"]);
    let wrong = ["--name", "other", "--version", "2", "--address", "127.0.0.1:9", "--policy", "AND("];
    let output = network.run(&[&["chaincode", "deploy"], wrong.as_slice()].concat());
    assert_eq!(output.status.code(), Some(2));
    let refused = text(&output.stderr);
    assert!(refused.contains("--policy AND( is no endorsement policy"), "{refused}");
}

#[test]
fn a_used_port_is_named_with_who_needs_it() {
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = occupied.local_addr().unwrap().port();
    let parent = tempfile::tempdir().unwrap();
    let output = Command::new(RIPSTOP)
        .arg("--dir")
        .arg(parent.path().join("n"))
        .args(["network", "up", "--port-base", &port.to_string()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let refused = text(&output.stderr);
    assert!(refused.contains(&format!("port {port}, which orderer.example.com needs")), "{refused}");
    assert!(!parent.path().join("n").exists(), "a network that cannot start left a folder");
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::write(parent.path().join("thesis.txt"), "dear").unwrap();
    let run = |command: &str| {
        Command::new(RIPSTOP).arg("--dir").arg(parent.path()).args(["network", command]).output().unwrap()
    };
    let up = run("up");
    assert_eq!(up.status.code(), Some(1));
    assert!(text(&up.stderr).contains("holds other files and no network"), "{}", text(&up.stderr));
    let down = run("down");
    assert_eq!(down.status.code(), Some(1));
    assert!(text(&down.stderr).contains("there is no network in"), "{}", text(&down.stderr));
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[test]
fn down_ends_its_own_processes_and_no_others() {
    let one = Network::up(&[]);
    let other = Network::up(&[]);
    one.ok(&["network", "down"]);
    let status = other.json(&["network", "status", "--json"]);
    assert!(status["nodes"].as_array().unwrap().iter().all(|node| node["state"] == "up"), "{status}");
}

#[test]
fn wrong_usage_is_told_in_one_line_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for typed in [
        "",
        "network",
        "network sideways",
        "network up --orgs 0",
        "network up --orgs 2 --peers-per-org 1,1,1",
        "network up --orderers 2",
        "network up --batch-timeout soon",
        "network up --port-base 7000 --ports free",
        "network up --preferred-max-bytes 100 --absolute-max-bytes 10",
        "network status --channel ../x",
        "network stop",
        "network kill",
        "network start",
        "network logs",
        "network reset now",
        "network down now",
        "channel",
        "channel list all",
        "state basic",
        "state basic asset1 --at 0",
        "verify-proof proof.json",
        "verify-proof proof.json --msp nowhere",
        "verify-proof proof.json --msp nowhere --orgs 0",
        "channel info",
        "chaincode package --name a --version 1 --address nowhere",
        "chaincode deploy --name a",
        "chaincode list all",
        "submit",
        "submit basic CreateAsset --as Eve",
        "query basic",
        "block",
        "block twelve",
        "block decode",
        "tx",
        "env",
        "completions",
        "completions cobol",
        "orderer",
        "peer",
    ] {
        let output = Command::new(RIPSTOP).current_dir(folder.path()).args(typed.split_whitespace()).output().unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{typed}: {told}");
        assert!(told.starts_with("ripstop: ") && told.lines().count() == 1, "{typed}: {told}");
        assert_eq!(text(&output.stdout), "", "{typed}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "wrong usage left something behind");
}

#[test]
fn completions_name_every_command_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(RIPSTOP).args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let script = text(&output.stdout);
        for command in ["network", "decode", "state", "verify-proof", "--prove", "completions", "--max-message-count"] {
            assert!(script.contains(command.trim_start_matches('-')), "{command} is not in the script for {shell}");
        }
    }
    let script = text(&Command::new(RIPSTOP).args(["completions", "bash"]).output().unwrap().stdout);
    let checked = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
}
