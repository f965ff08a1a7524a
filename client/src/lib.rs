//! What an application author imports: transactions, queries and events through a gateway.
//!
//! In the shape of Fabric's official client SDKs, and the same bytes on the wire, so it
//! works against stock Fabric peers too: [`Gateway`] is an identity on a connection,
//! [`Network`] a channel, [`Contract`] a chaincode on it. A [`Proposal`] is endorsed, the
//! [`Transaction`] that comes of it submitted, and its [`Commit`] awaited; each step by
//! itself, or all with [`Contract::submit`].
//!
//! [`StateProof`] stands by itself: it checks what peers prove, without any of them.
//!
//! This crate deliberately does not know how connections are secured (the caller makes
//! the [`tonic::transport::Channel`]), how a peer endorses, or how blocks are stored.
//! Read next: [`Contract`], then [`Error`].
//!
//! # From a connection to a committed transaction
//! ```no_run
//! use ripstop_client::{Gateway, SigningIdentity};
//! use tonic::transport::{Certificate, Channel, ClientTlsConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let organization = "organizations/peerOrganizations/org1.example.com";
//! let user = format!("{organization}/users/User1@org1.example.com/msp");
//! let identity = SigningIdentity::from_msp_folder("Org1MSP", &user)?;
//! let roots = std::fs::read(format!("{organization}/peers/peer0.org1.example.com/tls/ca.crt"))?;
//! let tls = ClientTlsConfig::new()
//!     .ca_certificate(Certificate::from_pem(roots))
//!     .domain_name("peer0.org1.example.com");
//! let channel = Channel::from_static("https://localhost:7051").tls_config(tls)?.connect().await?;
//!
//! let gateway = Gateway::connect(channel, identity);
//! let contract = gateway.network("mychannel").contract("basic");
//! contract.submit("CreateAsset", &["asset7", "blue", "5", "Tom", "300"]).await?;
//! let asset = contract.evaluate("ReadAsset", &["asset7"]).await?;
//! println!("{}", String::from_utf8_lossy(&asset));
//! # Ok(())
//! # }
//! ```

mod contract;
mod gateway;
mod network;

mod commit;
mod proposal;
mod transaction;

mod chaincode_events;

mod state_proof;

mod connection;
mod error;
mod freshness;
mod signer;

pub use contract::Contract;
pub use gateway::{Gateway, Timeouts};
pub use network::Network;

pub use commit::{Commit, CommitStatus};
pub use proposal::{Proposal, ProposalBuilder};
pub use transaction::Transaction;

pub use chaincode_events::{ChaincodeEvent, ChaincodeEvents, ChaincodeEventsRequest};

pub use error::{CommitError, Error, GatewayError, Step};
pub use state_proof::{
    Attestation, NotCounted, StateContent, StateProof, StateProofError, Voucher, Vouchers, majority,
};

pub use freshness::{Freshness, SystemFreshness};
pub use signer::{SignFailure, Signer};

pub use bytes::Bytes;
pub use ripstop_msp::{Msp, SigningIdentity};
pub use ripstop_proto::gateway::ErrorDetail;
pub use ripstop_proto::protos::TxValidationCode;
