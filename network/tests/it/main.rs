//! Real processes and real clients: networks are brought up with the program itself, on
//! free ports, and stopped again.

mod architecture;
mod command_line;
mod contract;
mod network;
mod node_sdk;
mod same_on_every_peer;
