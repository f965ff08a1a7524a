//! What other programs are given to find the network, and what is said of its channels.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::network::{Network, RIPSTOP, text};

/// The variables that a shell has after `eval "$(ripstop env …)"`.
fn evaluated(network: &Network, arguments: &[&str]) -> BTreeMap<String, String> {
    let output = Command::new("sh")
        .env_clear()
        .args(["-c", "eval \"$(\"$@\")\"; export -p | sed 's/^export //' >/dev/null; /usr/bin/env -0", "sh", RIPSTOP])
        .arg("--dir")
        .arg(network.dir())
        .arg("env")
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let variables = text(&output.stdout);
    variables
        .split('\0')
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_shell_gets_variables_whose_files_exist_also_in_an_odd_folder() {
    let network = Network::in_folder("it's $HOME \"net\"");
    network.ok(&["network", "up", "--ports", "free"]);
    for (organization, msp_id) in [("org1", "Org1MSP"), ("Org2MSP", "Org2MSP"), ("org2.example.com", "Org2MSP")] {
        let variables = evaluated(&network, &[organization]);
        let file = |name: &str| Path::new(&variables[name]).to_path_buf();
        assert!(file("FABRIC_CFG_PATH").join("core.yaml").is_file());
        assert!(file("CORE_PEER_MSPCONFIGPATH").join("signcerts").is_dir());
        for name in [
            "CORE_PEER_TLS_ROOTCERT_FILE",
            "ORDERER_CA",
            "ORDERER_ADMIN_TLS_SIGN_CERT",
            "ORDERER_ADMIN_TLS_PRIVATE_KEY",
            "TLS_CERT_PATH",
        ] {
            assert!(file(name).is_file(), "{name}: {}", variables[name]);
        }
        for name in ["CRYPTO_PATH", "KEY_DIRECTORY_PATH", "CERT_DIRECTORY_PATH"] {
            assert!(file(name).is_dir(), "{name}: {}", variables[name]);
        }
        assert_eq!((&*variables["CORE_PEER_LOCALMSPID"], &*variables["MSP_ID"]), (msp_id, msp_id));
        let peer = format!("peer0.{}.example.com", msp_id.trim_end_matches("MSP").to_lowercase());
        assert_eq!(variables["PEER_HOST_ALIAS"], peer);
        assert_eq!(variables["PEER_ENDPOINT"], network.node(&peer)["address"].as_str().unwrap());
        assert_eq!(variables["CHANNEL_NAME"], "mychannel");
        assert!(variables["CORE_PEER_MSPCONFIGPATH"].contains("/Admin@"));
        assert!(variables["KEY_DIRECTORY_PATH"].contains("/User1@"));
    }
    let refused = network.refused(&["env", "org9"]);
    assert!(refused.contains("there are org1.example.com, org2.example.com"), "{refused}");
}

#[test]
fn channels_are_listed_and_described() {
    let network = Network::up(&["--max-message-count", "77", "--batch-timeout", "700ms"]);
    let listed = network.json(&["channel", "list", "--json"]);
    assert_eq!(listed["channels"][0]["name"], "mychannel");
    let height = network.node("peer0.org1.example.com")["height"].clone();
    assert_eq!(listed["channels"][0]["height"], height);
    let info = network.json(&["channel", "info", "mychannel", "--json"]);
    assert_eq!((&info["channel"], &info["height"]), (&"mychannel".into(), &height));
    assert_eq!(info["capabilities"]["channel"], "V3_0");
    assert_eq!(
        (&info["orderer"]["max_message_count"], &info["orderer"]["batch_timeout_ms"]),
        (&77.into(), &700.into())
    );
    assert_eq!(info["organizations"][1]["msp_id"], "Org2MSP");
    assert_eq!(info["hash"], network.json(&["block", "newest", "--json"])["hash"]);
    assert!(network.ok(&["channel", "info", "mychannel"]).contains("up to 77 transactions"));
    let refused = network.refused(&["channel", "info", "other"]);
    assert!(refused.contains("other"), "{refused}");
}
