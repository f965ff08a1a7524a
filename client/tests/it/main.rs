//! The client against a gateway that notes what it is asked, over real gRPC; and proofs of
//! state, whole and altered.

#![expect(clippy::unwrap_used, reason = "in a test program a panic is the report")]

mod fake_gateway;
mod flow;
mod golden;
mod state_proofs;
mod vectors;
