//! One envelope: who made it, what it asked for, who endorsed it, what it read and wrote.

use std::fmt::{self, Display};

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common::{Envelope, HeaderType};
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::protos::{ChaincodeEvent, ChaincodeInvocationSpec, ChaincodeProposalPayload, TxValidationCode};
use ripstop_proto::read_write_set::ReadWriteSet;
use ripstop_proto::transaction::OpenTransaction;
use ripstop_proto::tx_id;
use serde::Serialize;

use super::config::Configuration;
use super::identity::Signer;
use super::read_write_set::{self, Namespace};
use super::readable::{Printable, Readable};
use crate::output::Tone;

/// An envelope, opened as far as it opens.
#[derive(Debug, Serialize)]
pub(crate) struct Transaction {
    tx_id: String,
    /// Whether the id is the one that nonce and creator give; configurations may carry none.
    tx_id_matches: bool,
    r#type: String,
    channel: String,
    timestamp: Option<String>,
    creator: Option<Signer>,
    #[serde(flatten)]
    body: Body,
    /// Why a layer could not be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    undecodable: Option<String>,
}

/// What the envelope carries.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Body {
    Action(Box<Action>),
    Configuration { configuration: Configuration },
    None {},
}

/// A call of a chaincode and what came of it.
#[derive(Debug, Serialize)]
struct Action {
    chaincode: String,
    chaincode_version: String,
    function: Readable,
    arguments: Vec<Readable>,
    endorsements: Vec<Signer>,
    response: Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Event>,
    namespaces: Vec<Namespace>,
}

#[derive(Debug, Serialize)]
struct Answer {
    status: i32,
    message: String,
    payload: Readable,
}

#[derive(Debug, Serialize)]
struct Event {
    name: String,
    payload: Readable,
}

impl Transaction {
    /// Opens the bytes of an envelope.
    pub(crate) fn open(bytes: &[u8]) -> Self {
        match OpenEnvelope::open(bytes) {
            Ok(envelope) => Self::of(&envelope),
            Err(error) => Self {
                tx_id: String::new(),
                tx_id_matches: false,
                r#type: "UNKNOWN".to_owned(),
                channel: String::new(),
                timestamp: None,
                creator: None,
                body: Body::None {},
                undecodable: Some(error.to_string()),
            },
        }
    }

    /// Like [`Transaction::open`], from a decoded envelope.
    pub(crate) fn from_envelope(envelope: Envelope) -> Self {
        Self::open(&envelope.encode_to_vec())
    }

    fn of(envelope: &OpenEnvelope) -> Self {
        let header = &envelope.channel_header;
        let computed = tx_id::compute(&envelope.signature_header.nonce, &envelope.signature_header.creator);
        let r#type = envelope.header_type();
        let (body, undecodable) = match body(r#type, &envelope.payload.data) {
            Ok(body) => (body, None),
            Err(reason) => (Body::None {}, Some(reason)),
        };
        let is_configuration = matches!(r#type, Some(HeaderType::Config | HeaderType::ConfigUpdate));
        Self {
            tx_id: envelope.index_tx_id(),
            tx_id_matches: header.tx_id == computed || (is_configuration && header.tx_id.is_empty()),
            r#type: r#type.map_or_else(|| format!("UNKNOWN_{}", header.r#type), |it| it.as_str_name().to_owned()),
            channel: header.channel_id.clone(),
            timestamp: header.timestamp.as_ref().map(ToString::to_string),
            // Nobody signs a genesis block's configuration.
            creator: Some(&envelope.signature_header.creator).filter(|it| !it.is_empty()).map(|it| Signer::of(it)),
            body,
            undecodable,
        }
    }

    /// The id under which it is indexed.
    pub(crate) fn tx_id(&self) -> &str {
        &self.tx_id
    }

    /// Whether it looks like something that was meant to be an envelope.
    pub(crate) fn is_plausible(&self) -> bool {
        HeaderType::from_str_name(&self.r#type).is_some() && !self.channel.is_empty()
    }
}

fn body(r#type: Option<HeaderType>, data: &Bytes) -> Result<Body, String> {
    match r#type {
        Some(HeaderType::EndorserTransaction) => Ok(Body::Action(Box::new(Action::open(data)?))),
        Some(HeaderType::Config) => Ok(Body::Configuration { configuration: Configuration::open(data)? }),
        Some(HeaderType::ConfigUpdate) => Ok(Body::Configuration { configuration: Configuration::open_update(data)? }),
        _ => Ok(Body::None {}),
    }
}

impl Action {
    fn open(data: &Bytes) -> Result<Self, String> {
        let transaction = OpenTransaction::open(data.clone()).map_err(|error| error.to_string())?;
        let action = transaction.chaincode_action().map_err(|error| error.to_string())?;
        let (function, arguments) = input(&transaction.proposal_payload_bytes)?;
        let set = ReadWriteSet::decode(action.results)
            .map_err(|error| format!("the read/write set does not decode: {error}"))?;
        let event = match action.events {
            events if events.is_empty() => None,
            events => {
                let event = ChaincodeEvent::decode(events).map_err(|error| format!("the event does not: {error}"))?;
                Some(Event { name: event.event_name, payload: Readable(event.payload) })
            }
        };
        let chaincode = action.chaincode_id.unwrap_or_default();
        let response = action.response.unwrap_or_default();
        Ok(Self {
            chaincode: chaincode.name,
            chaincode_version: chaincode.version,
            function,
            arguments,
            endorsements: transaction.endorsements.iter().map(|it| Signer::of(&it.endorser)).collect(),
            response: Answer {
                status: response.status,
                message: response.message,
                payload: Readable(response.payload),
            },
            event,
            namespaces: read_write_set::namespaces(set),
        })
    }
}

/// Function and arguments, as the client sent them.
fn input(proposal_payload: &Bytes) -> Result<(Readable, Vec<Readable>), String> {
    let payload = ChaincodeProposalPayload::decode(proposal_payload.clone())
        .map_err(|error| format!("the proposal payload does not decode: {error}"))?;
    let invocation = ChaincodeInvocationSpec::decode(payload.input)
        .map_err(|error| format!("the chaincode's input does not decode: {error}"))?;
    let input = invocation.chaincode_spec.and_then(|spec| spec.input).unwrap_or_default();
    let mut args = input.args.into_iter().map(Readable);
    Ok((args.next().unwrap_or(Readable(Bytes::new())), args.collect()))
}

/// The name of a validation code, also of one that this version does not know.
pub(crate) fn code_name(code: i32) -> String {
    TxValidationCode::try_from(code).map_or_else(|_| format!("UNKNOWN_{code}"), |code| code.as_str_name().to_owned())
}

impl Display for Transaction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let creator = self.creator.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
        writeln!(formatter, "     tx id     {}{}", Printable(&self.tx_id), mismatch(self.tx_id_matches))?;
        write!(formatter, "     made by   {creator}")?;
        writeln!(formatter, "  {}  {}", Printable(&self.channel), self.timestamp.as_deref().unwrap_or_default())?;
        match &self.body {
            Body::Action(action) => write!(formatter, "{action}")?,
            Body::Configuration { configuration } => write!(formatter, "{configuration}")?,
            Body::None {} => writeln!(formatter, "     type      {}", self.r#type)?,
        }
        match &self.undecodable {
            Some(reason) => writeln!(formatter, "     {}", Tone::Bad.paint(&Printable(reason).to_string())),
            None => Ok(()),
        }
    }
}

/// A remark beside what should have been equal.
pub(crate) fn mismatch(matches: bool) -> String {
    if matches { String::new() } else { Tone::Bad.paint("  DOES NOT MATCH") }
}

impl Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: Vec<String> = self.arguments.iter().map(ToString::to_string).collect();
        let (chaincode, function) = (Printable(&self.chaincode), &self.function);
        writeln!(formatter, "     called    {chaincode} {function}({})", arguments.join(", "))?;
        let endorsers: Vec<String> = self.endorsements.iter().map(ToString::to_string).collect();
        writeln!(formatter, "     endorsed  {}", endorsers.join(", "))?;
        let Answer { status, message, payload } = &self.response;
        let said = [Printable(message).to_string(), payload.to_string()].join(" ");
        writeln!(formatter, "     answered  {}", format!("{status} {}", said.trim()).trim_end())?;
        if let Some(event) = &self.event {
            writeln!(formatter, "     event     {} {}", Printable(&event.name), event.payload)?;
        }
        self.namespaces.iter().try_for_each(|namespace| write!(formatter, "{namespace}"))
    }
}
