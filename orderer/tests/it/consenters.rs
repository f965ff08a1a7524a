//! What holds for one consenter, for three, and for five in a hostile world.

use ripstop_orderer::consenter::Input;

use crate::simulation::{ELECTION_TICKS, World, envelope};

/// Seeds of the random tests: the one in RIPSTOP_SEED, or the first ones, RIPSTOP_SEED_COUNT
/// of them instead of `count` for a longer run.
fn seeds(count: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("RIPSTOP_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("RIPSTOP_SEED_COUNT").unwrap_or(count)).collect(),
    }
}

#[test]
fn a_sole_consenter_leads_at_once_and_commits_only_what_its_disk_has() {
    let mut world = World::new(1, 1);
    world.settle();
    assert_eq!(world.leader(), Some(1));
    let receipts = world.submit(1, 3);
    world.apply(1);
    assert!(world.nodes[0].blocks.is_empty(), "nothing is committed before the log is durable");
    world.persist(1);
    world.apply(1);
    assert_eq!(world.nodes[0].acknowledged, receipts);
    assert_eq!(world.nodes[0].blocks[0].1, receipts.iter().map(|&receipt| envelope(receipt)).collect::<Vec<_>>());
}

#[test]
fn an_idle_log_cuts_early_and_a_busy_one_fills_its_batches() {
    let mut world = World::new(1, 1);
    world.settle();
    world.submit(1, 1);
    world.tick();
    assert_eq!(world.nodes[0].blocks.len(), 1, "cut after the linger, long before the timeout");
    // One batch is under way: the next two envelopes wait for a third.
    world.submit(1, 3);
    world.submit(1, 2);
    world.submit(1, 1);
    world.settle();
    let sizes: Vec<usize> = world.nodes[0].blocks.iter().map(|(_, envelopes)| envelopes.len()).collect();
    assert_eq!(sizes, [1, 3, 3]);
}

#[test]
fn a_restarted_sole_consenter_goes_on_without_writing_anything_twice() {
    let mut world = World::new(1, 1);
    world.settle();
    for _ in 0..5 {
        world.submit(1, 3);
    }
    world.settle();
    let before = world.nodes[0].blocks.clone();
    assert_eq!(before.len(), 5);
    world.crash(1);
    world.start(1);
    world.settle();
    assert_eq!(world.nodes[0].blocks, before);
    world.submit(1, 3);
    world.settle();
    assert_eq!(world.nodes[0].blocks.len(), 6);
    world.check();
}

#[test]
fn entries_that_were_durable_but_not_applied_are_applied_after_the_restart() {
    let mut world = World::new(1, 1);
    world.settle();
    let receipts = world.submit(1, 3);
    world.persist(1);
    world.crash(1);
    assert!(world.nodes[0].blocks.is_empty());
    world.start(1);
    world.settle();
    assert_eq!(world.nodes[0].blocks[0].1, receipts.iter().map(|&receipt| envelope(receipt)).collect::<Vec<_>>());
}

#[test]
fn compaction_leaves_a_log_that_starts_again() {
    let mut world = World::keeping(1, 1, 500);
    world.settle();
    for _ in 0..200 {
        world.submit(1, 3);
        world.settle();
    }
    world.crash(1);
    world.start(1);
    world.settle();
    world.submit(1, 3);
    world.settle();
    assert_eq!(world.nodes[0].blocks.len(), 201);
    world.check();
}

#[test]
fn three_consenters_order_the_same_batches() {
    let mut world = World::new(3, 7);
    let leader = world.elect();
    for _ in 0..10 {
        world.submit(leader, 3);
        world.settle();
    }
    world.tick();
    assert!(world.nodes.iter().all(|node| node.blocks.len() == 10));
    assert_eq!(world.nodes[leader as usize - 1].acknowledged.len(), 30);
    world.check();
}

#[test]
fn a_follower_refuses_envelopes_and_names_the_leader() {
    let mut world = World::new(3, 7);
    let leader = world.elect();
    let follower = leader % 3 + 1;
    let receipts = world.submit(follower, 2);
    assert_eq!(world.nodes[follower as usize - 1].refused, receipts);
}

#[test]
fn when_the_leader_is_lost_the_others_go_on_and_it_catches_up_later() {
    for seed in seeds(10) {
        let mut world = World::new(3, seed);
        let first = world.elect();
        world.submit(first, 3);
        world.settle();
        world.submit(first, 3);
        world.crash(first);
        let second = world.elect();
        assert_ne!(first, second);
        world.submit(second, 3);
        world.settle();
        world.start(first);
        world.elect();
        world.tick_until("the first leader has every block", 5 * ELECTION_TICKS, |world| {
            let lengths: Vec<usize> = world.nodes.iter().map(|node| node.blocks.len()).collect();
            lengths[0] >= 2 && lengths.iter().all(|length| *length == lengths[0])
        });
        world.check();
    }
}

#[test]
fn a_leader_without_a_quorum_steps_down_and_refuses_what_it_took() {
    let mut world = World::new(3, 5);
    let first = world.elect();
    let others: Vec<u64> = (1..=3).filter(|id| *id != first).collect();
    world.partition(&[first], &others);
    let receipts = world.submit(first, 5);
    world.tick_until("the lonely leader steps down", 3 * ELECTION_TICKS, |world| {
        !world.nodes[first as usize - 1].is_leader
    });
    assert_eq!(world.nodes[first as usize - 1].refused, receipts);
    world.tick_until("the others have a leader", 5 * ELECTION_TICKS, |world| {
        others.iter().any(|id| world.nodes[*id as usize - 1].is_leader)
    });
    world.heal();
    let second = world.elect();
    world.submit(second, 3);
    world.settle();
    world.tick();
    assert!(world.nodes.iter().all(|node| node.blocks.len() == 1), "what the lonely leader took is not ordered");
    world.check();
}

#[test]
fn a_message_that_its_sender_cannot_have_sent_changes_nothing() {
    let mut world = World::new(3, 9);
    let leader = world.elect();
    let follower = leader % 3 + 1;
    let mut forged = ripstop_orderer::consenter::ConsenterMessage::default();
    (forged.from, forged.to, forged.term, forged.commit) = (leader, follower, 9, u64::MAX / 2);
    world.input(follower, Input::Message { sender: 7, message: Box::new(forged) });
    world.submit(leader, 3);
    world.settle();
    world.tick();
    assert!(world.nodes.iter().all(|node| node.blocks.len() == 1));
}

#[test]
fn a_consenter_that_the_log_has_left_behind_fetches_blocks_and_goes_on_with_the_log() {
    for seed in seeds(20) {
        let mut world = World::keeping(3, seed, 300);
        let leader = world.elect();
        let late = leader % 3 + 1;
        world.submit(leader, 3);
        world.settle();
        world.crash(late);
        for _ in 0..100 {
            world.submit(leader, 3);
            world.settle();
        }
        world.start(late);
        world.tick_until("the late one has every block", 10 * ELECTION_TICKS, |world| {
            world.nodes.iter().all(|node| node.blocks.len() == 101)
        });
        assert!(world.fetched_count > 50, "seed {seed}: only {} blocks were fetched", world.fetched_count);
        let leader = world.elect();
        world.submit(leader, 3);
        world.settle();
        world.tick();
        assert!(world.nodes.iter().all(|node| node.blocks.len() == 102), "seed {seed}");
        world.crash(late);
        world.start(late);
        world.elect();
        world.check();
    }
}

#[test]
fn catching_up_goes_on_after_a_crash_at_any_moment() {
    for seed in seeds(40) {
        let mut world = World::keeping(3, seed, 300);
        let leader = world.elect();
        let late = leader % 3 + 1;
        world.submit(leader, 3);
        world.crash(late);
        world.settle();
        for _ in 0..100 {
            world.submit(leader, 3);
            world.settle();
        }
        world.start(late);
        for _ in 0..60 {
            // Until a random event ends it: the disk may have been told of the fetched blocks or not.
            let events = 10 * (seed % 7) + 20;
            (0..events).for_each(|_| world.late_event(late));
            world.crash(late);
            world.check();
            world.start(late);
        }
        world.elect();
        world.tick_until("the late one has every block", 20 * ELECTION_TICKS, |world| {
            world.nodes.iter().all(|node| node.blocks.len() == 101)
        });
        world.check();
    }
}

#[test]
fn three_or_five_consenters_agree_through_loss_reordering_partitions_and_crashes() {
    let (mut blocks, mut fetched) = (0, 0);
    let mut seeds = seeds(60);
    if seeds.len() > 1 {
        // A crash with some blocks fetched and the same ones committed, but not all of them applied.
        seeds.push(1191);
    }
    for &seed in &seeds {
        let count = if seed % 2 == 0 { 3 } else { 5 };
        // Every third world keeps so little of the log that blocks have to be fetched.
        let mut world = if seed % 3 == 0 { World::keeping(count, seed, 300) } else { World::new(count, seed) };
        world.elect();
        for _ in 0..20 {
            (0..400).for_each(|_| world.anything());
            world.check();
        }
        world.heal();
        for id in 1..=count {
            if !world.is_running(id) {
                world.start(id);
            }
        }
        let leader = world.elect();
        let last = world.submit(leader, 3);
        world.tick_until("everybody has the last envelopes", 20 * ELECTION_TICKS, |world| {
            let has_last = |node: &crate::simulation::Node| {
                node.blocks.iter().rev().take(3).any(|(_, envelopes)| envelopes.contains(&envelope(last[2])))
            };
            world.nodes.iter().all(has_last)
        });
        world.check();
        let length = world.nodes[0].blocks.len();
        assert!(world.nodes.iter().all(|node| node.blocks.len() == length), "seed {seed}");
        blocks += length;
        fetched += world.fetched_count;
    }
    assert!(seeds.len() < 10 || fetched > 50, "only {fetched} blocks were fetched");
    assert!(blocks > 20 * seeds.len(), "only {blocks} blocks in all: the world is too hostile to prove anything");
}
