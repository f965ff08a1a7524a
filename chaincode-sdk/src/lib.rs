//! What a contract author imports: a stub to the ledger, a contract trait, the service
//! that a peer connects to ("chaincode as a service"), and the program that dials its peer.
//!
//! A contract is a plain type. Each call of it gets a [`Stub`], which knows one
//! transaction: its arguments, its creator, and the state at one height. Everything the
//! contract does to the ledger is one request at a time through the [`Peer`] trait, so
//! the same contract runs behind a real peer and behind an in-memory ledger.
//!
//! This crate deliberately does not know how a peer simulates, endorses or stores; it
//! speaks only the messages of `ripstop-proto`, and stock Fabric peers understand it.
//! Read next: [`Contract`], then [`View`] and [`Stub`], then [`Server`] and [`Dialer`].
//!
//! # A contract, from its first line to the service
//! ```
//! use ripstop_chaincode_sdk::{Answer, Contract, Failure, Response, Server, ServerSettings, Stub};
//!
//! struct Greetings;
//!
//! impl Contract for Greetings {
//!     async fn invoke(&self, stub: &Stub) -> Result<Response, Failure> {
//!         match stub.function() {
//!             "Greet" => greet(stub, stub.parameters()?).await.answer(),
//!             "Greeted" => greeted(stub, stub.parameters()?).await.answer(),
//!             _ => Err(Failure::unknown_function(stub)),
//!         }
//!     }
//! }
//!
//! async fn greet(stub: &Stub, (name, times): (String, u32)) -> Result<(), Failure> {
//!     if times == 0 {
//!         return Err(Failure::new(format!("greeting {name} zero times is not a greeting")));
//!     }
//!     stub.put_state(&name, times.to_string()).await?;
//!     stub.set_event("Greeted", name)?;
//!     Ok(())
//! }
//!
//! async fn greeted(stub: &Stub, name: String) -> Result<bool, Failure> {
//!     Ok(stub.get_state(&name).await?.is_some())
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A program reads both from CHAINCODE_SERVER_ADDRESS and CHAINCODE_ID instead:
//! // `ServerSettings::from_environment()?`.
//! let settings = ServerSettings { address: "127.0.0.1:0".into(), package_id: "greetings_1.0:ab12".into(), tls: None };
//! # let shutdown = async {};
//! # /*
//! let shutdown = ripstop_chaincode_sdk::interrupted();
//! # */
//! Server::new(settings, Greetings).run(shutdown).await?;
//! # Ok(())
//! # }
//! ```

mod contract;
mod failure;
mod parameters;
mod payload;

mod invocation;
mod stub;
mod stub_error;
mod view;

mod chaincode_call;
mod collection;
mod key_policy;
mod metadata;
mod page;
mod range;
mod state;
mod write_buffer;

mod execution;
mod peer;

mod conversation;
mod dial_settings;
mod dialer;
mod server;
mod settings;
mod stream_peer;

mod program;

pub use contract::Contract;
pub use failure::Failure;
pub use parameters::{Parameter, Parameters};
pub use payload::{Answer, IntoPayload, Json};

pub use invocation::{Invocation, InvocationError};
pub use stub::Stub;
pub use stub_error::StubError;
pub use view::View;

pub use collection::{Collection, CollectionView};
pub use key_policy::KeyPolicy;
pub use page::{Page, PageRequest};
pub use range::{History, KeyValue, Modification, QueryElement, Range, Results};

pub use execution::{Outcome, execute};
pub use peer::{Peer, PeerAnswer, PeerError, Request};

pub use dial_settings::{DialSettings, DialTlsSettings};
pub use dialer::{DialError, Dialer};
pub use program::{RunError, run};
pub use server::{BoundServer, MESSAGE_BYTES_MAX, ServeError, Server, interrupted};
pub use settings::{ServerSettings, SettingsError, TlsSettings};

pub use bytes::Bytes;
pub use prost_types::Timestamp;
pub use ripstop_proto::composite_key::CompositeKeyError;
pub use ripstop_proto::msp::SerializedIdentity;
pub use ripstop_proto::protos::{ChaincodeEvent, Response};
