//! What an application author imports: the gateway client.
