//! What every node shares: TLS listener and dialer, configuration file, operations HTTP, Deliver's seek rules.
