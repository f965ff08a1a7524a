//! The wire against the official packages: recorded byte vectors of their SDK, and every
//! message decoded and encoded again by their classes.

#![expect(clippy::unwrap_used, reason = "in a test program a panic is the report")]

mod descriptors;
mod messages;
mod official;
mod reencoding;
mod samples;
mod vectors;
