//! The chaincode that another one calls, as the conversation with the caller sees it.
//!
//! It does not know definitions, channels or who may call whom: that is the endorser's.

use bytes::Bytes;
use futures::future::BoxFuture;
use ripstop_ledger::Simulator;
use ripstop_proto::protos::{ChaincodeMessage, ChaincodeSpec};

/// Runs called chaincodes within the caller's transaction.
pub trait Callees: Send + Sync {
    /// Runs what `spec` names, as `name[:version][/channel]`, and gives the message that
    /// ended it, COMPLETED or ERROR. `simulator` is the caller's; a callee on the caller's
    /// channel notes its reads and writes there too.
    ///
    /// # Errors
    /// Why it could not be run, in the words that stand after
    /// `INVOKE_CHAINCODE failed: transaction ID: ID: `.
    fn call<'a>(
        &'a self,
        spec: ChaincodeSpec,
        simulator: &'a mut Simulator,
    ) -> BoxFuture<'a, Result<ChaincodeMessage, String>>;
}

/// `name[:version][/channel]`. The version says nothing: a channel has one definition per name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CalleeName<'a> {
    pub(crate) chaincode: &'a str,
    /// `None`: the caller's.
    pub(crate) channel_id: Option<&'a str>,
}

impl<'a> CalleeName<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let (name, channel_id) = match text.split_once('/') {
            Some((name, channel_id)) => (name, Some(channel_id).filter(|id| !id.is_empty())),
            None => (text, None),
        };
        let chaincode = name.split_once(':').map_or(name, |(chaincode, _version)| chaincode);
        Self { chaincode, channel_id }
    }
}

/// What a caller gets of the callee's end.
pub(crate) fn answer(end: &ChaincodeMessage) -> Bytes {
    prost::Message::encode_to_vec(end).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callee_is_named_with_or_without_version_and_channel() {
        let name = |chaincode, channel_id| CalleeName { chaincode, channel_id };
        for (text, expected) in [
            ("basic", name("basic", None)),
            ("basic:1.0", name("basic", None)),
            ("basic/other", name("basic", Some("other"))),
            ("basic:1.0/other", name("basic", Some("other"))),
            ("basic/", name("basic", None)),
            ("", name("", None)),
        ] {
            assert_eq!(CalleeName::parse(text), expected, "{text}");
        }
    }
}
