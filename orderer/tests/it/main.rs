//! The ordering service from outside: consenters in a simulated world, and a real orderer
//! behind its own sockets.

mod consenters;
mod simulation;
