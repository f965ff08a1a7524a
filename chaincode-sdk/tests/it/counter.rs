//! Counters: adds at the same time, prunes among them, and rows of Fabric's sample.

use ripstop_chaincode_sdk::{Counter, CounterError, PRUNED_ROWS_MAX};

use crate::ledger::{Ledger, ReadWriteSet};

const COUNTER: Counter<i64> = Counter::new("visits");

async fn add(ledger: &mut Ledger, amount: i64) -> ReadWriteSet {
    let tx = ledger.begin();
    COUNTER.add(&tx.stub, amount).await.unwrap();
    tx.end().await
}

async fn rows(ledger: &mut Ledger, most: usize) -> Vec<String> {
    COUNTER.rows(&ledger.begin().stub, most).await.unwrap()
}

async fn prune(ledger: &mut Ledger, rows: &[String]) -> ReadWriteSet {
    let tx = ledger.begin();
    COUNTER.prune(&tx.stub, rows).await.unwrap();
    tx.end().await
}

async fn value(ledger: &mut Ledger) -> i64 {
    COUNTER.value(&ledger.begin().stub).await.unwrap()
}

#[tokio::test]
async fn a_row_is_one_of_fabrics_sample_and_an_add_reads_nothing() {
    let mut ledger = Ledger::default();
    let added = add(&mut ledger, 5).await;
    assert!(added.reads.is_empty() && added.ranges.is_empty());
    let row = "\u{0}varName~op~value~txID\u{0}visits\u{0}+\u{0}5\u{0}tx1\u{0}";
    assert_eq!(added.writes.keys().collect::<Vec<_>>(), [row]);
    assert_eq!(added.writes[row].as_deref(), Some(&[0][..]));
    ledger.put("\u{0}varName~op~value~txID\u{0}visits\u{0}-\u{0}1.5\u{0}tx9\u{0}", &[0]);
    ledger.put("\u{0}varName~op~value~txID\u{0}visits\u{0}+\u{0}1e2\u{0}tx8\u{0}", &[0]);
    let tx = ledger.begin();
    assert_eq!(Counter::<f64>::named("visits").value(&tx.stub).await.unwrap(), 98.5);
    let refused = COUNTER.value(&tx.stub).await.unwrap_err();
    assert!(refused.to_string().contains("not a number of the counter's type"), "{refused}");
}

#[tokio::test]
async fn adds_at_the_same_time_all_commit_in_every_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut ledger = Ledger::default();
        let mut endorsed = Vec::new();
        for amount in [1, 2, -4] {
            endorsed.push(Some(add(&mut ledger, amount).await));
        }
        for index in order {
            assert!(ledger.commit(endorsed[index].take().unwrap()));
        }
        assert_eq!(value(&mut ledger).await, -1);
    }
}

#[tokio::test]
async fn equal_adds_of_one_transaction_all_count() {
    let mut ledger = Ledger::default();
    let tx = ledger.begin();
    for _ in 0..3 {
        COUNTER.add(&tx.stub, 7).await.unwrap();
    }
    let done = tx.end().await;
    assert!(ledger.commit(done));
    assert_eq!(value(&mut ledger).await, 21);
}

#[tokio::test]
async fn a_prune_meets_no_conflict_with_adds_and_one_with_another_prune() {
    let mut ledger = Ledger::default();
    for amount in 1..=5 {
        let added = add(&mut ledger, amount).await;
        ledger.commit(added);
    }
    let listed = rows(&mut ledger, 3).await;
    assert_eq!(listed.len(), 3);
    let (one, two) = (prune(&mut ledger, &listed).await, prune(&mut ledger, &listed[2..]).await);
    assert!(one.ranges.is_empty());
    let added = add(&mut ledger, 10).await;
    assert!(ledger.commit(added));
    assert!(ledger.commit(one));
    assert!(!ledger.commit(two));
    assert_eq!(value(&mut ledger).await, 25);
    assert_eq!(ledger.keys().len(), 4);
    // Rows that are gone are left out, and rows named twice are folded once.
    let left = rows(&mut ledger, 1).await;
    let again = prune(&mut ledger, &[listed, left.clone(), left].concat()).await;
    assert!(ledger.commit(again));
    assert_eq!(value(&mut ledger).await, 25);
}

#[tokio::test]
async fn no_interleaving_of_adds_and_prunes_loses_a_change() {
    for start in 1..=50u64 {
        let mut seed = start.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut draw = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let (mut ledger, mut endorsed, mut expected) = (Ledger::default(), Vec::new(), 0);
        for _ in 0..60 {
            match draw(5) {
                0 | 1 => {
                    let amount = draw(20) as i64 - 10;
                    endorsed.push((amount, add(&mut ledger, amount).await));
                }
                2 => {
                    let listed = rows(&mut ledger, 1 + draw(6) as usize).await;
                    endorsed.push((0, prune(&mut ledger, &listed).await));
                }
                // Some are endorsed and never come to the orderer.
                3 if !endorsed.is_empty() && draw(4) == 0 => {
                    drop(endorsed.swap_remove(draw(endorsed.len() as u64) as usize))
                }
                _ if !endorsed.is_empty() => {
                    let (amount, done) = endorsed.swap_remove(draw(endorsed.len() as u64) as usize);
                    let valid = ledger.commit(done);
                    assert!(valid || amount == 0, "an add was refused, seed {start}");
                    expected += amount;
                }
                _ => {}
            }
            assert_eq!(value(&mut ledger).await, expected, "seed {start}");
        }
    }
}

#[tokio::test]
async fn only_rows_of_the_counter_are_pruned_and_not_too_many() {
    let mut ledger = Ledger::default();
    ledger.put("simple", b"value");
    let tx = ledger.begin();
    let prune = async |rows: Vec<String>| COUNTER.prune(&tx.stub, &rows).await;
    for foreign in ["simple", "\u{0}varName~op~value~txID\u{0}other\u{0}+\u{0}5\u{0}tx1\u{0}"] {
        assert!(matches!(prune(vec![foreign.to_owned()]).await, Err(CounterError::Row { .. })));
    }
    let many = vec!["row".to_owned(); PRUNED_ROWS_MAX + 1];
    assert!(matches!(prune(many).await, Err(CounterError::TooManyRows(1001))));
    assert!(tx.end().await.writes.is_empty());
}

#[tokio::test]
async fn rows_are_due_for_pruning_only_above_the_number_that_is_kept() {
    let mut ledger = Ledger::default();
    for amount in 1..=5 {
        let added = add(&mut ledger, amount).await;
        ledger.commit(added);
    }
    let tx = ledger.begin();
    assert_eq!(COUNTER.rows_to_prune(&tx.stub, 5, 3).await.unwrap(), [""; 0]);
    assert_eq!(COUNTER.rows_to_prune(&tx.stub, 4, 3).await.unwrap().len(), 3);
    assert_eq!(COUNTER.delete(&tx.stub).await.unwrap(), 5);
}

#[tokio::test]
async fn a_sum_that_its_type_cannot_hold_is_an_error() {
    let mut ledger = Ledger::default();
    for amount in [i64::MAX, 1] {
        let added = add(&mut ledger, amount).await;
        ledger.commit(added);
    }
    let tx = ledger.begin();
    assert!(matches!(COUNTER.value(&tx.stub).await, Err(CounterError::Overflow(name)) if name == "visits"));
    let infinite = Counter::<f64>::named("visits").add(&tx.stub, f64::INFINITY).await;
    assert!(matches!(infinite, Err(CounterError::Row { .. })));
}
