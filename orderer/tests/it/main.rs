//! The ordering service from outside: consenters in a simulated world, real orderers behind
//! their own sockets, alone and as a cluster.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod consenters;
mod simulation;

mod material;
mod orderer;
mod participation;

mod metrics;

mod cluster;
mod cluster_calls;
mod cluster_world;
