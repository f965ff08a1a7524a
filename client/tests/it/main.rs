//! The client against a gateway that notes what it is asked, over real gRPC.

#![expect(clippy::unwrap_used, reason = "in a test program a panic is the report")]

mod fake_gateway;
mod flow;
mod golden;
mod vectors;
