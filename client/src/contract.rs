//! A chaincode on a channel: queries and transactions.

use std::sync::Arc;

use bytes::Bytes;

use crate::connection::Connection;
use crate::{CommitError, Error, ProposalBuilder};

/// A chaincode, or one of the contracts in it.
#[derive(Clone)]
pub struct Contract {
    connection: Arc<Connection>,
    channel_id: String,
    chaincode_name: String,
    contract_name: Option<String>,
}

impl Contract {
    pub(crate) fn new(
        connection: Arc<Connection>,
        channel_id: String,
        chaincode_name: String,
        contract_name: Option<String>,
    ) -> Self {
        Self { connection, channel_id, chaincode_name, contract_name }
    }

    /// The chaincode's name.
    pub fn chaincode_name(&self) -> &str {
        &self.chaincode_name
    }

    /// Asks one peer to run `function` and returns its result. Changes nothing.
    ///
    /// # Errors
    /// When the contract declines or the gateway cannot ask it.
    pub async fn evaluate(&self, function: &str, arguments: &[&str]) -> Result<Bytes, Error> {
        self.new_proposal(function).arguments(arguments).build()?.evaluate().await
    }

    /// Has `function` endorsed, ordered and committed, and returns its result once its
    /// changes are in the state of the gateway's peer.
    ///
    /// # Errors
    /// Each step's; [`Error::Commit`] when the transaction is in a block but invalid. It
    /// is not sent again: a new attempt is a new transaction.
    pub async fn submit(&self, function: &str, arguments: &[&str]) -> Result<Bytes, Error> {
        let transaction = self.new_proposal(function).arguments(arguments).build()?.endorse().await?;
        let status = transaction.submit().await?.status().await?;
        if !status.is_successful() {
            return Err(CommitError::new(status).into());
        }
        Ok(transaction.result().clone())
    }

    /// A proposal to call `function`, for everything that [`Contract::submit`] and
    /// [`Contract::evaluate`] do not offer: bytes as arguments, transient data,
    /// organizations, and each step by itself.
    ///
    /// ```
    /// # use ripstop_client::{Gateway, SigningIdentity};
    /// # use ripstop_msp::authority::{AuthorityKind, CertificateAuthority};
    /// # use ripstop_msp::{KeyKind, Role};
    /// # use tonic::transport::Channel;
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let authority = CertificateAuthority::new("org1.example.com", AuthorityKind::Identity)?;
    /// # let issued = authority.issue_identity("User1@org1.example.com", Role::Client, KeyKind::P256)?;
    /// # let identity = SigningIdentity::from_pem("Org1MSP", &issued.certificate_pem, &issued.key_pem)?;
    /// # let channel = Channel::from_static("http://localhost:7051").connect_lazy();
    /// let contract = Gateway::connect(channel, identity).network("mychannel").contract("basic");
    /// let proposal = contract
    ///     .new_proposal("TransferAsset")
    ///     .arguments(["asset7", "Max"])
    ///     .transient("price", 100u64.to_be_bytes())
    ///     .endorsing_organizations(["Org1MSP"])
    ///     .build()?;
    /// // Known before anything is sent: note it where a restart finds it.
    /// assert_eq!(proposal.transaction_id().len(), 64);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new_proposal(&self, function: &str) -> ProposalBuilder {
        let function = match &self.contract_name {
            Some(contract) => format!("{contract}:{function}"),
            None => function.to_owned(),
        };
        ProposalBuilder::new(
            Arc::clone(&self.connection),
            self.channel_id.clone(),
            self.chaincode_name.clone(),
            function,
        )
    }
}
