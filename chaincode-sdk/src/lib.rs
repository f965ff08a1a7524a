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
//! use ripstop_chaincode_sdk::{
//!     ContractError, Counter, Failure, Map, Server, ServerSettings, Stub, View, contract,
//! };
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Account {
//!     cents: u64,
//! }
//!
//! #[derive(ContractError)]
//! enum Fail {
//!     #[failure(404, "there is no account {0}")]
//!     NoAccount(String),
//!     #[failure(422, "{missing} cents are missing")]
//!     Short { missing: u64 },
//!     #[failure(transparent)]
//!     Other(Failure),
//! }
//!
//! const ACCOUNTS: Map<String, Account> = Map::new("account");
//! /// Changed by every payment, and no reason for a conflict between two.
//! const PAID: Counter<i64> = Counter::new("paid");
//!
//! struct Bank;
//!
//! #[contract(name = "bank", version = "1.0", rename_all = "PascalCase")]
//! impl Bank {
//!     #[submit]
//!     #[require(org = "Org1MSP")]
//!     async fn open(&self, stub: &Stub, id: String, account: Account) -> Result<(), Fail> {
//!         Ok(ACCOUNTS.insert_new(stub, &id, &account).await?)
//!     }
//!
//!     #[submit]
//!     async fn pay(&self, stub: &Stub, id: String, cents: u32) -> Result<Account, Fail> {
//!         let paid = ACCOUNTS.update(stub, &id, |account| {
//!             let missing = u64::from(cents).saturating_sub(account.cents);
//!             account.cents = account.cents.checked_sub(cents.into()).ok_or(Fail::Short { missing })?;
//!             Ok::<_, Fail>(())
//!         });
//!         let account = paid.await?;
//!         PAID.add(stub, cents.into()).await?;
//!         Ok(account)
//!     }
//!
//!     #[query]
//!     async fn balance(&self, view: &View, id: String) -> Result<u64, Fail> {
//!         let account = ACCOUNTS.get(view, &id).await?;
//!         Ok(account.ok_or(Fail::NoAccount(id))?.cents)
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The whole `main` of a program is `ripstop_chaincode_sdk::run(Bank).await`.
//! let settings = ServerSettings { address: "127.0.0.1:0".into(), package_id: "bank_1.0:ab12".into(), tls: None };
//! # let shutdown = async {};
//! # /*
//! let shutdown = ripstop_chaincode_sdk::interrupted();
//! # */
//! Server::new(settings, Bank).run(shutdown).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A query has no means to write; this does not compile:
//! ```compile_fail,E0599
//! # use ripstop_chaincode_sdk::{Failure, View, contract};
//! # struct Bank;
//! #[contract]
//! impl Bank {
//!     #[query]
//!     async fn balance(&self, view: &View) -> Result<(), Failure> {
//!         Ok(view.put_state("key", "value").await?)
//!     }
//! }
//! ```
//! Neither do arguments that cannot be read from a call:
//! ```compile_fail,E0277
//! # use ripstop_chaincode_sdk::{Failure, Stub, contract};
//! # struct Bank;
//! struct Account;
//!
//! #[contract]
//! impl Bank {
//!     #[submit]
//!     async fn open(&self, stub: &Stub, account: Account) -> Result<(), Failure> {
//!         Ok(())
//!     }
//! }
//! ```

mod argument;
mod contract;
#[doc(hidden)]
pub mod dispatch;
mod failure;
mod parameters;
mod payload;

mod invocation;
mod stub;
mod stub_error;
mod view;

mod caller;
mod chaincode_call;
mod collection;
mod key;
mod key_policy;
mod metadata;
mod page;
mod range;
mod state;
mod write_buffer;

mod counter;
mod item;
mod map;
mod stored;

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
pub use payload::{Answer, IntoPayload, Raw};
pub use ripstop_chaincode_macros::{ContractError, Key, contract};

pub use invocation::{Invocation, InvocationError};
pub use stub::Stub;
pub use stub_error::StubError;
pub use view::View;

pub use caller::{Caller, CallerError};
pub use collection::{Collection, CollectionView};
pub use key::{Key, KeyError};
pub use key_policy::KeyPolicy;
pub use page::{Page, PageRequest};
pub use range::{History, KeyValue, Modification, QueryElement, Range, Results};

pub use counter::{Amount, Counter, CounterError, PRUNED_ROWS_MAX, Pruned};
pub use item::Item;
pub use map::{Entries, Map};
pub use stored::StateError;

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
