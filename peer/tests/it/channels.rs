//! Joining channels, on the disk.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use ripstop_ledger::Options;
use ripstop_peer::channel::{ChannelError, Channels};

use crate::blocks;
use crate::organizations::{CHANNEL, Organizations};

/// Opens the channels in `folder` and notes which are started.
fn open(folder: &Path) -> (Channels, Arc<Mutex<Vec<String>>>) {
    let started: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&started);
    let start =
        Box::new(move |channel: &Arc<ripstop_peer::channel::Channel>| noted.lock().push(channel.id().to_owned()));
    (Channels::open(folder.join("channels"), Options::default(), start).unwrap(), started)
}

#[test]
fn a_joined_channel_is_started_and_is_there_again_after_a_restart() {
    let (organizations, folder) = (Organizations::new(), tempfile::tempdir().unwrap());
    let (channels, started) = open(folder.path());
    assert!(channels.ids().is_empty());
    let channel = channels.join(organizations.genesis.clone()).unwrap();
    blocks::commit_unjudged(channel.ledger(), vec![bytes::Bytes::from_static(b"entry")]);
    assert_eq!((channel.id(), channel.config().sequence()), (CHANNEL, 0));
    assert_eq!(*started.lock(), [CHANNEL]);
    drop((channel, channels));

    let (channels, started) = open(folder.path());
    assert_eq!(channels.ids(), [CHANNEL]);
    assert_eq!(*started.lock(), [CHANNEL]);
    let channel = channels.get(CHANNEL).unwrap();
    assert_eq!(channel.ledger().height(), 2);
    assert_eq!(channel.config().channel_id(), CHANNEL);
}

#[test]
fn a_channel_is_joined_once() {
    let (organizations, folder) = (Organizations::new(), tempfile::tempdir().unwrap());
    let (channels, started) = open(folder.path());
    channels.join(organizations.genesis.clone()).unwrap();
    let again = channels.join(organizations.genesis.clone()).map(|_| ()).unwrap_err();
    assert_eq!(
        again.to_string(),
        "cannot create ledger from genesis block: ledger [mychannel] already exists with state [ACTIVE]"
    );
    assert_eq!(started.lock().len(), 1);
}

#[test]
fn a_join_that_was_interrupted_has_not_happened_and_can_be_done_again() {
    let (organizations, folder) = (Organizations::new(), tempfile::tempdir().unwrap());
    std::fs::create_dir_all(folder.path().join("channels").join(CHANNEL)).unwrap();
    let (channels, started) = open(folder.path());
    assert!(channels.ids().is_empty() && started.lock().is_empty());
    channels.join(organizations.genesis.clone()).unwrap();
    assert_eq!(channels.ids(), [CHANNEL]);
}

#[test]
fn only_a_genesis_block_is_joined() {
    let (organizations, folder) = (Organizations::new(), tempfile::tempdir().unwrap());
    let (channels, _) = open(folder.path());
    let mut later = organizations.genesis.clone();
    later.header.as_mut().unwrap().number = 1;
    assert!(matches!(channels.join(later), Err(ChannelError::NotGenesis(1))));
    let mut empty = organizations.genesis.clone();
    empty.data = None;
    assert!(matches!(channels.join(empty), Err(ChannelError::Config(_))));
    assert!(matches!(channels.join(Default::default()), Err(ChannelError::NoHeader)));
    assert!(channels.ids().is_empty());
    assert_eq!(std::fs::read_dir(folder.path().join("channels")).unwrap().count(), 0);
}
