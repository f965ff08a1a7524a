//! An endorsed transaction, ready to be ordered.

use std::sync::Arc;

use bytes::Bytes;
use ripstop_proto::common::{Envelope, Header};
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::gateway::SubmitRequest;
use ripstop_proto::transaction::OpenTransaction;

use crate::connection::Connection;
use crate::{Commit, Error, Step};

/// A transaction that enough organizations have endorsed.
#[derive(Clone)]
pub struct Transaction {
    connection: Arc<Connection>,
    channel_id: String,
    transaction_id: String,
    envelope: Envelope,
    result: Bytes,
}

impl Transaction {
    /// Reads what the gateway prepared. It has to be about the proposal with `header`:
    /// what is signed here should be what was asked for.
    pub(crate) fn open(
        connection: Arc<Connection>,
        channel_id: String,
        transaction_id: String,
        header: &Header,
        envelope: Envelope,
    ) -> Result<Self, Error> {
        let result = result_of(&envelope, header).map_err(|cause| Error::Answer {
            step: Step::Endorse,
            transaction_id: transaction_id.clone(),
            cause,
        })?;
        Ok(Self { connection, channel_id, transaction_id, envelope, result })
    }

    /// 64 hexadecimal characters.
    pub fn transaction_id(&self) -> &str {
        &self.transaction_id
    }

    /// What the contract returned.
    pub fn result(&self) -> &Bytes {
        &self.result
    }

    /// The bytes that are signed, a `common.Payload`.
    pub fn bytes(&self) -> &Bytes {
        &self.envelope.payload
    }

    /// Signs the transaction and sends it to the ordering service. When this returns, the
    /// transaction is accepted, not yet committed.
    ///
    /// # Errors
    /// When the identity cannot sign, or no orderer takes the transaction. After a broken
    /// connection or a missed deadline it may be ordered all the same: ask
    /// [`Transaction::commit`], or submit the same transaction again, which can become
    /// valid only once.
    pub async fn submit(&self) -> Result<Commit, Error> {
        let signature = self.connection.sign(&self.envelope.payload)?;
        let request = SubmitRequest {
            transaction_id: self.transaction_id.clone(),
            channel_id: self.channel_id.clone(),
            prepared_transaction: Some(Envelope { payload: self.envelope.payload.clone(), signature }),
        };
        let limit = self.connection.timeouts.submit;
        self.connection
            .call(Step::Submit, &self.transaction_id, limit, request, async |mut client, request| {
                client.submit(request).await
            })
            .await?;
        Ok(self.commit())
    }

    /// What asks for the transaction's place in the chain, whether or not
    /// [`Transaction::submit`] succeeded.
    pub fn commit(&self) -> Commit {
        Commit::new(Arc::clone(&self.connection), self.channel_id.clone(), self.transaction_id.clone())
    }
}

fn result_of(envelope: &Envelope, proposed: &Header) -> Result<Bytes, String> {
    let open = OpenEnvelope::from_envelope(envelope.clone()).map_err(|cause| cause.to_string())?;
    if open.header != *proposed {
        return Err("the prepared transaction is not the proposed one, so it was not signed".to_owned());
    }
    let transaction = OpenTransaction::open(open.payload.data).map_err(|cause| cause.to_string())?;
    let action = transaction.chaincode_action().map_err(|cause| cause.to_string())?;
    let response = action.response.ok_or("the endorsed action holds no response")?;
    Ok(response.payload)
}
