//! What a ledger keeps of a divergence, and the keys behind paths.

use ripstop_ledger::{Ledger, Options};
use ripstop_proto::ripstop::v1::{DivergedKey, Divergence};
use ripstop_trie::state_path;

use crate::build::{commit, genesis, new_ledger, sets, version};

#[test]
fn a_divergence_is_kept_over_openings_and_goes_when_the_state_is_built_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), "mychannel", genesis(), Options::default()).unwrap();
    assert_eq!(ledger.divergence().unwrap(), None);
    let key = DivergedKey { namespace: "cc".into(), key: "a".into(), path: vec![1; 32].into() };
    let divergence = Divergence { block_number: 7, or_earlier: true, key: Some(key) };
    ledger.keep_divergence(&divergence).unwrap();
    commit(&ledger, &[sets().write("a", "1")]);
    drop(ledger);
    let ledger = Ledger::open(folder.path(), Options::default()).unwrap();
    assert_eq!(ledger.divergence().unwrap(), Some(divergence));
    ledger.rebuild_at_next_start();
    drop(ledger);
    let ledger = Ledger::open(folder.path(), Options::default()).unwrap();
    assert_eq!(ledger.divergence().unwrap(), None);
    assert_eq!(ledger.height(), 2);
}

#[test]
fn the_key_behind_a_path_is_found_among_written_held_and_deleted_keys() {
    let ledger = new_ledger();
    commit(&ledger, &[sets().write("held", "1").write("deleted", "1")]);
    commit(&ledger, &[sets().delete("deleted"), sets().read("held", version(9, 9)).write("lost", "1")]);
    let found = |number, key: &str| {
        let found = ledger.key_at(number, &state_path("cc", key.as_bytes())).unwrap();
        found.map(|found| (found.namespace, String::from_utf8(found.key.to_vec()).unwrap()))
    };
    for (number, key) in [(2, "lost"), (2, "deleted"), (2, "held"), (1, "held"), (0, "deleted"), (77, "held")] {
        assert_eq!(found(number, key), Some(("cc".to_owned(), key.to_owned())), "{key} from block {number}");
    }
    assert_eq!(found(1, "lost"), None, "only a losing transaction of another block names it");
    assert_eq!(found(2, "never"), None);
}
