//! The ripstop program: one binary that runs a node, brings a local network up, submits and queries.

fn main() {}
