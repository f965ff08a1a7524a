//! A call of a chaincode before anyone has run it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;
use ripstop_proto::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use ripstop_proto::gateway::{EndorseRequest, EvaluateRequest};
use ripstop_proto::protos::chaincode_spec::Type;
use ripstop_proto::protos::{
    ChaincodeHeaderExtension, ChaincodeId, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload,
    ChaincodeSpec, Proposal as ProposalMessage, SignedProposal,
};
use ripstop_proto::tx_id;

use crate::connection::Connection;
use crate::{Error, Step, Transaction};

/// What a proposal asks for, before its transaction id is chosen.
#[derive(Clone)]
pub struct ProposalBuilder {
    connection: Arc<Connection>,
    channel_id: String,
    chaincode_name: String,
    args: Vec<Bytes>,
    transient: BTreeMap<String, Bytes>,
    endorsing_organizations: Vec<String>,
}

impl ProposalBuilder {
    pub(crate) fn new(
        connection: Arc<Connection>,
        channel_id: String,
        chaincode_name: String,
        function: String,
    ) -> Self {
        Self {
            connection,
            channel_id,
            chaincode_name,
            args: vec![function.into()],
            transient: BTreeMap::new(),
            endorsing_organizations: Vec::new(),
        }
    }

    /// Appends arguments, text or bytes.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        self.args.extend(arguments.into_iter().map(|argument| Bytes::copy_from_slice(argument.as_ref())));
        self
    }

    /// Adds a value that only endorsers see; it does not enter the transaction.
    pub fn transient(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.transient.insert(name.into(), Bytes::copy_from_slice(value.as_ref()));
        self
    }

    /// Lets only these organizations (by MSP id) endorse or evaluate.
    pub fn endorsing_organizations(mut self, msp_ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.endorsing_organizations = msp_ids.into_iter().map(Into::into).collect();
        self
    }

    /// Chooses the nonce, and with it the transaction id, and signs.
    ///
    /// # Errors
    /// When the identity cannot sign.
    pub fn build(self) -> Result<Proposal, Error> {
        let creator = self.connection.signer.serialized().clone();
        let nonce = Bytes::copy_from_slice(&self.connection.freshness.nonce());
        let transaction_id = tx_id::compute(&nonce, &creator);
        let header = Header {
            channel_header: encoded(&self.channel_header(&transaction_id)),
            signature_header: encoded(&SignatureHeader { creator, nonce }),
        };
        let proposal =
            ProposalMessage { header: encoded(&header), payload: encoded(&self.payload()), ..Default::default() };
        let proposal_bytes = encoded(&proposal);
        let signature = self.connection.sign(&proposal_bytes)?;
        Ok(Proposal {
            connection: self.connection,
            channel_id: self.channel_id,
            transaction_id,
            header,
            signed: SignedProposal { proposal_bytes, signature },
            endorsing_organizations: self.endorsing_organizations,
        })
    }

    fn channel_header(&self, transaction_id: &str) -> ChannelHeader {
        let extension = ChaincodeHeaderExtension { chaincode_id: Some(self.chaincode_id()) };
        ChannelHeader {
            r#type: HeaderType::EndorserTransaction.into(),
            timestamp: Some(Timestamp::from(self.connection.freshness.now())),
            channel_id: self.channel_id.clone(),
            tx_id: transaction_id.to_owned(),
            extension: encoded(&extension),
            ..Default::default()
        }
    }

    fn payload(&self) -> ChaincodeProposalPayload {
        let spec = ChaincodeSpec {
            // Means nothing to a peer. Each SDK writes its own language; this is what the
            // recorded vectors of the Node SDK have.
            r#type: Type::Node.into(),
            chaincode_id: Some(self.chaincode_id()),
            input: Some(ChaincodeInput { args: self.args.clone(), ..Default::default() }),
            ..Default::default()
        };
        ChaincodeProposalPayload {
            input: encoded(&ChaincodeInvocationSpec { chaincode_spec: Some(spec) }),
            transient_map: self.transient.clone(),
        }
    }

    fn chaincode_id(&self) -> ChaincodeId {
        ChaincodeId { name: self.chaincode_name.clone(), ..Default::default() }
    }
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// A signed proposal with its transaction id.
#[derive(Clone)]
pub struct Proposal {
    connection: Arc<Connection>,
    channel_id: String,
    transaction_id: String,
    header: Header,
    signed: SignedProposal,
    endorsing_organizations: Vec<String>,
}

impl Proposal {
    /// The id the transaction will have: 64 hexadecimal characters.
    pub fn transaction_id(&self) -> &str {
        &self.transaction_id
    }

    /// The bytes that are signed, a `protos.Proposal`.
    pub fn bytes(&self) -> &Bytes {
        &self.signed.proposal_bytes
    }

    /// The proposal as a peer's endorser takes it, for calls that do not go through a gateway.
    pub fn signed(&self) -> &SignedProposal {
        &self.signed
    }

    /// Asks one peer for the result, as a query.
    ///
    /// # Errors
    /// When the contract declines or the gateway cannot ask it.
    pub async fn evaluate(&self) -> Result<Bytes, Error> {
        let request = EvaluateRequest {
            transaction_id: self.transaction_id.clone(),
            channel_id: self.channel_id.clone(),
            proposed_transaction: Some(self.signed.clone()),
            target_organizations: self.endorsing_organizations.clone(),
        };
        let limit = self.connection.timeouts.evaluate;
        let answer = self
            .connection
            .call(Step::Evaluate, &self.transaction_id, limit, request, async |mut client, request| {
                client.evaluate(request).await
            })
            .await?;
        Ok(answer.result.unwrap_or_default().payload)
    }

    /// Collects as many endorsements as the chaincode's policy asks for.
    ///
    /// # Errors
    /// When the contract declines, or the policy cannot be met: the details name each
    /// peer that was asked and what it said.
    pub async fn endorse(&self) -> Result<Transaction, Error> {
        let request = EndorseRequest {
            transaction_id: self.transaction_id.clone(),
            channel_id: self.channel_id.clone(),
            proposed_transaction: Some(self.signed.clone()),
            endorsing_organizations: self.endorsing_organizations.clone(),
        };
        let limit = self.connection.timeouts.endorse;
        let answer = self
            .connection
            .call(Step::Endorse, &self.transaction_id, limit, request, async |mut client, request| {
                client.endorse(request).await
            })
            .await?;
        let envelope = answer.prepared_transaction.unwrap_or_default();
        Transaction::open(
            Arc::clone(&self.connection),
            self.channel_id.clone(),
            self.transaction_id.clone(),
            &self.header,
            envelope,
        )
    }
}
