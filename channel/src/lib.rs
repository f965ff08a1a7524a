//! What a channel is: its configuration, genesis, capabilities, ACLs.
