//! Takes a channel's blocks from its orderers and verifies each.
