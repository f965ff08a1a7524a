//! Nodes that are stopped, killed and started again, and networks that are deleted.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::network::{Network, text};

const PEER: &str = "peer0.org1.example.com";

/// What the supervisor wrote down.
fn processes(network: &Network) -> Value {
    serde_json::from_slice(&std::fs::read(network.dir().join("processes.json")).unwrap()).unwrap()
}

fn pid_of(process: &Value) -> u64 {
    process["pid"].as_u64().unwrap()
}

fn kill_9(pid: u64) {
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn exists(pid: u64) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[test]
fn a_stopped_or_killed_node_is_started_again_with_its_data() {
    let network = Network::up(&[]);
    let before = network.node(PEER);
    let killed = network.json(&["network", "kill", "peer0.org1", "--json"]);
    assert_eq!((&killed["name"], &killed["state"]), (&PEER.into(), &"down".into()));
    assert_eq!(killed["pid"], before["pid"]);
    wait_until("its end is noted", || !exists(pid_of(&before)));
    assert_eq!(network.node(PEER)["state"], "down");
    // A second time there is nothing to do.
    assert!(network.ok(&["network", "kill", PEER]).contains("does not run"));
    // Its organization's other members are not affected, and it comes back with its blocks.
    let started = network.json(&["network", "start", "peer0.org1", "--json"]);
    assert_ne!(started["pid"], before["pid"]);
    assert_eq!(network.node(PEER)["pid"], started["pid"]);
    assert!(network.ok(&["network", "start", PEER]).contains("runs already"));
    network.ok(&["query", "basic", "ReadAsset", "asset1"]);

    network.ok(&["network", "stop", "orderer"]);
    network.ok(&["network", "kill", "basic"]);
    // Killed from outside: the supervisor has to notice by itself.
    kill_9(pid_of(&network.node("peer0.org2.example.com")));
    let kept = network.node(PEER);
    network.ok(&["network", "up"]);
    let status = network.json(&["network", "status", "--json"]);
    for part in ["nodes", "contracts"] {
        assert!(status[part].as_array().unwrap().iter().all(|one| one["state"] == "up"), "{status}");
    }
    assert_eq!(network.node(PEER)["pid"], kept["pid"], "a node that ran was started again");
    let submitted = network.json(&["submit", "--json", "basic", "CreateAsset", "asset9", "red", "1", "Eve", "2"]);
    assert_eq!(submitted["code"], "VALID");
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let network = Network::up(&[]);
    for command in ["stop", "kill", "start", "logs"] {
        let refused = network.refused(&["network", command, "peer7"]);
        for name in ["peer7", "orderer.example.com", PEER, "peer0.org2.example.com", "basic"] {
            assert!(refused.contains(name), "{name} is not in: {refused}");
        }
    }
    network.ok(&["network", "down"]);
    let refused = network.refused(&["network", "start", PEER]);
    assert!(refused.contains("`ripstop network up` starts it"), "{refused}");
}

#[test]
fn logs_of_nodes_and_contracts_are_printed_and_a_closed_pipe_is_no_error() {
    let network = Network::up(&[]);
    let log = network.ok(&["network", "logs", "peer0.org1"]);
    assert_eq!(log, std::fs::read_to_string(network.dir().join("logs").join(format!("{PEER}.log"))).unwrap());
    assert!(!log.is_empty());
    network.ok(&["network", "logs", "basic"]);
    let script = "\"$0\" --dir \"$1\" block 0 | head -1; echo \"${PIPESTATUS[0]}\"";
    let output = std::process::Command::new("bash")
        .args(["-c", script, crate::network::RIPSTOP])
        .arg(network.dir())
        .output()
        .unwrap();
    assert!(text(&output.stdout).ends_with("\n0\n"), "{}", text(&output.stdout));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn children_end_by_themselves_when_their_supervisor_is_killed_and_up_starts_over() {
    let network = Network::up(&[]);
    let before = processes(&network);
    let children: Vec<u64> =
        before["supervised"].as_array().unwrap().iter().map(|supervised| pid_of(&supervised["process"])).collect();
    assert!(children.len() >= 4, "{before}");
    kill_9(pid_of(&before["supervisor"]));
    wait_until("every child has ended", || !children.iter().any(|pid| exists(*pid)));
    assert!(network.ok(&["network", "down"]).contains("nothing runs"));

    // Right after the kill, the ports are still taken by what is about to end.
    network.ok(&["network", "up"]);
    kill_9(pid_of(&processes(&network)["supervisor"]));
    network.ok(&["network", "up"]);
    network.ok(&["query", "basic", "ReadAsset", "asset1"]);
}

#[test]
fn down_ends_a_suspended_node_too() {
    let network = Network::up(&[]);
    let pid = pid_of(&network.node(PEER)).to_string();
    assert!(std::process::Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    network.ok(&["network", "down"]);
    wait_until("it has ended", || !Path::new("/proc").join(&pid).exists());
}

/// Twenty times what people do in a hurry: up, a crash of something, down.
#[test]
fn cycles_of_up_kill_and_down_leave_no_process_no_port_and_no_file_outside_the_folder() {
    let network = Network::up(&[]);
    let first = network.json(&["network", "status", "--json"]);
    let addresses: Vec<String> = ["nodes", "contracts"]
        .into_iter()
        .flat_map(|part| first[part].as_array().unwrap())
        .map(|one| one["address"].as_str().unwrap().replace("localhost", "127.0.0.1"))
        .collect();
    let names: Vec<&str> =
        first["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
    for cycle in 0..20 {
        network.ok(&["network", "up"]);
        let running = processes(&network);
        match cycle % 3 {
            0 => drop(network.ok(&["network", "kill", names[cycle % names.len()]])),
            1 => kill_9(pid_of(&running["supervisor"])),
            _ => kill_9(pid_of(&running["supervised"][cycle % names.len()]["process"])),
        }
        network.ok(&["network", "down"]);
        let mut pids: Vec<u64> =
            running["supervised"].as_array().unwrap().iter().map(|it| pid_of(&it["process"])).collect();
        pids.push(pid_of(&running["supervisor"]));
        wait_until("every process has ended", || !pids.iter().any(|pid| exists(*pid)));
        for address in &addresses {
            std::net::TcpListener::bind(address).unwrap_or_else(|error| panic!("cycle {cycle}: {address}: {error}"));
        }
        let beside = std::fs::read_dir(network.dir().parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1, "cycle {cycle} left something beside the folder");
    }
    network.ok(&["network", "up"]);
    network.ok(&["query", "basic", "ReadAsset", "asset1"]);
}

#[test]
fn reset_stops_and_deletes_its_own_folder_and_no_other() {
    let network = Network::up(&[]);
    let pids: Vec<u64> = processes(&network)["supervised"]
        .as_array()
        .unwrap()
        .iter()
        .map(|supervised| pid_of(&supervised["process"]))
        .collect();
    assert_eq!(network.json(&["network", "reset", "--json"])["deleted"], true);
    assert!(!network.dir().exists());
    wait_until("every process has ended", || !pids.iter().any(|pid| exists(*pid)));
    assert_eq!(network.json(&["network", "reset", "--json"])["deleted"], false);

    std::fs::create_dir(network.dir()).unwrap();
    std::fs::write(network.dir().join("thesis.txt"), "dear").unwrap();
    let refused = network.refused(&["network", "reset"]);
    assert!(refused.contains("holds other files and no network"), "{refused}");
    assert!(network.dir().join("thesis.txt").exists());
}

#[test]
fn a_folder_of_200_characters_with_spaces_and_quotes_works() {
    let network = Network::in_folder(&format!("it's a \"net\" $HOME {}", "x".repeat(180)));
    network.ok(&["network", "up", "--ports", "free"]);
    assert!(network.dir().as_os_str().len() > 200);
    network.ok(&["network", "kill", PEER]);
    network.ok(&["network", "start", PEER]);
    network.ok(&["query", "basic", "ReadAsset", "asset1"]);
    network.ok(&["network", "reset"]);
    assert!(!network.dir().exists());
}
