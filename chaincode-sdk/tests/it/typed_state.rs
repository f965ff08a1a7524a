//! Items and maps: their keys, what they record, absent and empty.

use ripstop_chaincode_sdk::{Item, Key, Map, StateError};

use crate::ledger::Ledger;

#[derive(Debug, PartialEq, Key)]
struct Place {
    color: String,
    id: u64,
}

const MOTTO: Item<String> = Item::new("motto");
const ASSETS: Map<Place, String> = Map::new("asset");

fn place(color: &str, id: u64) -> Place {
    Place { color: color.to_owned(), id }
}

#[tokio::test]
async fn absent_and_empty_are_two_things() {
    let mut ledger = Ledger::default();
    let tx = ledger.begin();
    assert_eq!(MOTTO.get(&tx.stub).await.unwrap(), None);
    MOTTO.put(&tx.stub, &String::new()).await.unwrap();
    let done = tx.end().await;
    assert!(ledger.commit(done));
    assert_eq!(ledger.value("motto"), Some(&b"\"\""[..]));
    assert_eq!(MOTTO.get(&ledger.begin().stub).await.unwrap(), Some(String::new()));
    let tx = ledger.begin();
    MOTTO.remove(&tx.stub).await.unwrap();
    let done = tx.end().await;
    assert!(done.reads.is_empty());
    ledger.commit(done);
    let absent = MOTTO.update(&ledger.begin().stub, |_| Ok::<_, StateError>(())).await;
    assert!(matches!(absent, Err(StateError::Absent(key)) if key == "motto"));
}

#[tokio::test]
async fn entries_have_fabrics_composite_keys_and_record_what_is_documented() {
    let mut ledger = Ledger::default();
    let tx = ledger.begin();
    ASSETS.put(&tx.stub, &place("blue", 7), &"Max".to_owned()).await.unwrap();
    let done = tx.end().await;
    assert!(done.reads.is_empty() && done.ranges.is_empty());
    let key = "\u{0}asset\u{0}blue\u{0}7\u{0}";
    assert_eq!(done.writes[key].as_deref(), Some(&b"\"Max\""[..]));
    ledger.commit(done);

    let tx = ledger.begin();
    let change = |owner: &mut String| -> Result<(), StateError> {
        owner.push_str("ine");
        Ok(())
    };
    assert_eq!(ASSETS.update(&tx.stub, &place("blue", 7), change).await.unwrap(), "Maxine");
    let done = tx.end().await;
    assert_eq!((done.reads.len(), done.writes.len(), done.ranges.len()), (1, 1, 0));
}

#[tokio::test]
async fn of_two_transactions_that_insert_the_same_key_one_is_valid() {
    let mut ledger = Ledger::default();
    let mut endorsed = Vec::new();
    for owner in ["Max", "Eve"] {
        let tx = ledger.begin();
        ASSETS.insert_new(&tx.stub, &place("blue", 7), &owner.to_owned()).await.unwrap();
        endorsed.push(tx.end().await);
    }
    let valid: Vec<bool> = endorsed.into_iter().map(|done| ledger.commit(done)).collect();
    assert_eq!(valid, [true, false]);
    let again = ASSETS.insert_new(&ledger.begin().stub, &place("blue", 7), &String::new()).await;
    assert!(matches!(again, Err(StateError::Exists(key)) if key == "asset blue 7"));
}

#[tokio::test]
async fn a_scan_finds_the_keys_that_begin_with_the_prefix() {
    let mut ledger = Ledger::default();
    let tx = ledger.begin();
    for (color, id) in [("blue", 10), ("blue", 9), ("bluegreen", 1), ("red", 2)] {
        ASSETS.put(&tx.stub, &place(color, id), &color.to_owned()).await.unwrap();
    }
    let done = tx.end().await;
    ledger.commit(done);
    let tx = ledger.begin();
    let blue = ASSETS.scan(&tx.stub, &"blue".to_owned()).await.unwrap().all().await.unwrap();
    let blue: Vec<_> = blue.into_iter().map(|(place, _)| place).collect();
    // By the bytes of the parts.
    assert_eq!(blue, [place("blue", 10), place("blue", 9)]);
    assert_eq!(ASSETS.scan(&tx.stub, &()).await.unwrap().all().await.unwrap().len(), 4);
    let exactly = ("red".to_owned(), 2u64);
    assert_eq!(ASSETS.scan(&tx.stub, &exactly).await.unwrap().next().await.unwrap().unwrap().1, "red");
}

#[tokio::test]
async fn stored_bytes_of_another_type_are_named() {
    let mut ledger = Ledger::default();
    ledger.put("motto", b"[1]");
    ledger.put("\u{0}asset\u{0}blue\u{0}x\u{0}", b"\"Max\"");
    let tx = ledger.begin();
    let refused = MOTTO.get(&tx.stub).await.unwrap_err().to_string();
    assert!(refused.starts_with("the value of motto is not what its type says"), "{refused}");
    let refused = ASSETS.scan(&tx.stub, &()).await.unwrap().next().await.unwrap_err().to_string();
    assert!(refused.contains("part \"x\" of the key is not a u64"), "{refused}");
    let delimiter = ASSETS.get(&tx.stub, &place("a\u{0}", 1)).await;
    assert!(matches!(delimiter, Err(StateError::Stub(_))));
}
