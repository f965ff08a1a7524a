//! The table in ARCHITECTURE.md is what the crates really depend on.

use std::collections::{BTreeMap, BTreeSet};

use crate::network::repository;

type Uses = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_crate_uses_what_the_table_says_and_nothing_else() {
    let documented = table();
    let members = members();
    assert!(members.len() > 8, "only {members:?} were read");
    assert_eq!(documented, members);
}

/// Rows of the form `| crate | a, b |` below "Who may know whom".
fn table() -> Uses {
    let text = std::fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once("## Who may know whom").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| crate"));
    rows.map(|row| {
        let [_, name, uses, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else { panic!("{row}") };
        let uses = uses.split(", ").filter(|used| *used != "–").map(str::to_owned);
        (name.to_owned(), uses.collect())
    })
    .collect()
}

/// What stands in the `[dependencies]` of each member, without the prefix of our packages.
fn members() -> Uses {
    let root: toml::Table = manifest(".");
    let members = root["workspace"]["members"].as_array().unwrap().iter();
    members
        .map(|member| {
            let manifest = manifest(member.as_str().unwrap());
            let name = manifest["package"]["name"].as_str().unwrap();
            let dependencies = manifest["dependencies"].as_table().unwrap().keys();
            let ours = dependencies.filter_map(|dependency| dependency.strip_prefix("ripstop-"));
            (name.strip_prefix("ripstop-").unwrap().to_owned(), ours.map(str::to_owned).collect())
        })
        .collect()
}

fn manifest(member: &str) -> toml::Table {
    let path = repository().join(member).join("Cargo.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}
