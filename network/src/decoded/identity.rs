//! Who signed: the organization and the name in the certificate.

use std::fmt::{self, Display};

use prost::Message;
use ripstop_msp::Certificate;
use ripstop_proto::msp::SerializedIdentity;
use serde::Serialize;

use super::readable::Printable;

/// An identity as it stands in a signature header or an endorsement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Signer {
    /// Empty when the identity does not decode.
    msp_id: String,
    /// The certificate's subject; `None` when it cannot be read.
    subject: Option<String>,
    #[serde(skip)]
    common_name: Option<String>,
}

impl Signer {
    /// Reads a `SerializedIdentity`; checks nothing.
    pub(crate) fn of(identity: &[u8]) -> Self {
        let Ok(SerializedIdentity { mspid, id_bytes }) = SerializedIdentity::decode(identity) else {
            return Self { msp_id: String::new(), subject: None, common_name: None };
        };
        let certificate = Certificate::from_pem(&id_bytes).ok();
        let subject = certificate.as_ref().map(|certificate| certificate.subject_text().to_owned());
        let common_name = certificate.map(|certificate| certificate.common_name().to_owned());
        Self { msp_id: mspid, subject, common_name }
    }
}

impl Display for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let msp_id = if self.msp_id.is_empty() { "(unreadable)" } else { &self.msp_id };
        let name = self.common_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("(unreadable certificate)");
        write!(formatter, "{} {}", Printable(msp_id), Printable(name))
    }
}
