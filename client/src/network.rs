//! A channel, seen through a gateway.

use std::sync::Arc;

use crate::connection::Connection;
use crate::{ChaincodeEventsRequest, Contract};

/// One channel.
#[derive(Clone)]
pub struct Network {
    connection: Arc<Connection>,
    channel_id: String,
}

impl Network {
    pub(crate) fn new(connection: Arc<Connection>, channel_id: String) -> Self {
        Self { connection, channel_id }
    }

    /// The channel's id.
    pub fn channel_id(&self) -> &str {
        &self.channel_id
    }

    /// A chaincode of the channel, by its committed name.
    pub fn contract(&self, chaincode_name: impl Into<String>) -> Contract {
        Contract::new(Arc::clone(&self.connection), self.channel_id.clone(), chaincode_name.into(), None)
    }

    /// One contract of a chaincode that has several.
    pub fn contract_named(&self, chaincode_name: impl Into<String>, contract_name: impl Into<String>) -> Contract {
        let (chaincode_name, contract_name) = (chaincode_name.into(), contract_name.into());
        Contract::new(Arc::clone(&self.connection), self.channel_id.clone(), chaincode_name, Some(contract_name))
    }

    /// The events of a chaincode, from the next block on unless the request says more.
    pub fn chaincode_events(&self, chaincode_name: impl Into<String>) -> ChaincodeEventsRequest {
        ChaincodeEventsRequest::new(Arc::clone(&self.connection), self.channel_id.clone(), chaincode_name.into())
    }
}
