//! `why TXID`: the code of a transaction, what it lost by or who refused it, and what to do.
//! The peer explains; words and JSON are made here.

mod advice;

use std::fmt;
use std::process::ExitCode;

use anyhow::anyhow;
use prost::Message;
use ripstop_node::transport::MESSAGE_BYTES_MAX;
use ripstop_proto::kvrwset::Version;
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::ripstop::v1::explanation::Reason;
use ripstop_proto::ripstop::v1::explanations_client::ExplanationsClient;
use ripstop_proto::ripstop::v1::{ExplainRequest, ExplainResponse, ReadConflict, Refusal, SignedExplainRequest};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::cli::Target;
use crate::decoded::readable::Printable;
use crate::folder::Folder;
use crate::output::{Tone, print, say};
use crate::session::{self, Session};
use crate::table::Table;

/// Explains a transaction; the exit code is 1 when that is not possible any more.
pub(crate) async fn why(folder: &Folder, target: &Target, tx_id: &str, json: bool) -> anyhow::Result<ExitCode> {
    let session = Session::open(folder, target).await?;
    let why = Why { tx_id: tx_id.to_owned(), response: ask(folder, target, &session, tx_id).await? };
    match json {
        true => say(&why.json())?,
        false => print(&why)?,
    }
    Ok(if why.is_outdated() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn ask(folder: &Folder, target: &Target, session: &Session, tx_id: &str) -> anyhow::Result<ExplainResponse> {
    let topology = folder.topology()?;
    let (user, organization) = session::user(&topology, target)?;
    let identity = session::identity(folder, organization, user)?;
    let request = ExplainRequest {
        channel_id: session.channel().to_owned(),
        transaction_id: tx_id.to_owned(),
        identity: identity.serialized().clone(),
    };
    let request = request.encode_to_vec();
    let signature = identity.sign(&request)?.into();
    let signed = SignedExplainRequest { request: request.into(), signature };
    let mut client = ExplanationsClient::new(session.connection().clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let answer = client.explain(signed).await;
    let who = format!("{user}@{}", organization.domain);
    answer.map(tonic::Response::into_inner).map_err(|status| unanswered(session, &who, tx_id, &status))
}

/// Why there is no answer, and what to do.
fn unanswered(session: &Session, who: &str, tx_id: &str, status: &Status) -> anyhow::Error {
    let (peer, channel, text) = (session.peer(), session.channel(), status.message());
    match status.code() {
        Code::NotFound => anyhow!(
            "{peer} does not know transaction {tx_id}: {text}. It was never ordered, or not yet, or this peer lags: \
             `ripstop network status` shows the heights; --peer and --channel ask elsewhere"
        ),
        Code::PermissionDenied => anyhow!(
            "{peer} refuses to explain transactions of channel {channel} to {who}: {text}. `ripstop channel list` \
             shows its channels; --as asks as somebody else"
        ),
        Code::Unimplemented => {
            anyhow!("{peer} does not explain transactions: it is no Ripstop peer, or an older one; --peer asks another")
        }
        code => anyhow!("{peer} cannot explain {tx_id}: {text} ({code:?})"),
    }
    .context("no explanation")
}

/// An answer, on its way to people or programs.
struct Why {
    tx_id: String,
    response: ExplainResponse,
}

impl Why {
    fn reason(&self) -> Option<&Reason> {
        self.response.explanation.as_ref()?.reason.as_ref()
    }

    fn conflict(&self) -> Option<&ReadConflict> {
        match self.reason() {
            Some(Reason::Conflict(conflict)) => Some(conflict),
            _ => None,
        }
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self.reason() {
            Some(Reason::Refusal(refusal)) => Some(refusal),
            _ => None,
        }
    }

    /// Invalid, and in a block whose explanations are gone.
    fn is_outdated(&self) -> bool {
        let is_invalid = self.response.code() != TxValidationCode::Valid;
        is_invalid && self.response.explanation.is_none()
    }

    fn json(&self) -> Value {
        let ExplainResponse { block_number, tx_index, .. } = self.response;
        let code = self.response.code();
        let conflicts: Vec<Value> = self.conflict().map(conflict_json).into_iter().collect();
        let policy = self.refusal().filter(|_| code == TxValidationCode::EndorsementPolicyFailure).map(policy_json);
        json!({
            "tx_id": self.tx_id,
            "code": code.as_str_name(),
            "code_number": code as i32,
            "block": block_number,
            "tx_index": tx_index,
            "conflicts": conflicts,
            "policy": policy,
            "reason": self.refusal().map(|refusal| &refusal.text),
            "explained": !self.is_outdated(),
            "explained_from_block": self.response.explained_from,
            "what_to_do": advice::of(code, self.reason()),
        })
    }

    fn facts(&self) -> Table {
        let mut facts = Table::new(&[]);
        let mut fact = |name: &str, text: String| facts.push([name.to_owned(), Printable(&text).to_string()]);
        fact("tx id", self.tx_id.clone());
        match self.reason() {
            Some(Reason::Conflict(conflict)) => self.conflict_facts(conflict, &mut fact),
            Some(Reason::Refusal(refusal)) => refusal_facts(refusal, &mut fact),
            None => {}
        }
        facts
    }

    fn conflict_facts(&self, conflict: &ReadConflict, fact: &mut impl FnMut(&str, String)) {
        if let Some(range) = &conflict.range {
            let end = match (range.end_key.as_str(), range.end_included) {
                ("", _) => "the end".to_owned(),
                (key, true) => format!("{key:?}, included"),
                (key, false) => format!("{key:?}"),
            };
            fact("range", format!("from {:?} to {end}, in {}", range.start_key, conflict.namespace));
        }
        let is_summarized = conflict.range.as_ref().is_some_and(|range| range.summarized);
        if conflict.key.is_empty() && is_summarized {
            fact("key", "not known: the transaction carries only hashes of the many rows it read".to_owned());
        } else {
            fact("key", place(&conflict.namespace, &conflict.collection, &conflict.key));
        }
        fact(
            "read",
            match &conflict.read_version {
                Some(version) => version_text(version),
                None if is_summarized => {
                    "not known: the transaction carries only hashes of the rows it read".to_owned()
                }
                None => "no such key".to_owned(),
            },
        );
        fact(
            "found",
            match &conflict.found_version {
                Some(version) => version_text(version),
                None => "no such key".to_owned(),
            },
        );
        fact("winner", self.winner(conflict));
    }

    fn winner(&self, conflict: &ReadConflict) -> String {
        let Some(winner) = &conflict.winner else { return "not known".to_owned() };
        let ExplainResponse { block_number, tx_index, .. } = self.response;
        let distance = match conflict.within_block {
            true => {
                let earlier = u64::from(tx_index).saturating_sub(winner.tx_num);
                format!("the same block, {}", counted(earlier, "transaction"))
            }
            false => {
                let earlier = block_number.saturating_sub(winner.block_num);
                format!("block {}, {}", winner.block_num, counted(earlier, "block"))
            }
        };
        format!("{}  in {distance} earlier", conflict.winner_tx_id)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExplainResponse { block_number, tx_index, explained_from, .. } = self.response;
        let code = self.response.code();
        let tone = if code == TxValidationCode::Valid { Tone::Good } else { Tone::Bad };
        let name = format!("{} ({})", code.as_str_name(), code as i32);
        writeln!(formatter, "{}  block {block_number}, transaction {tx_index}", tone.paint(&name))?;
        write!(formatter, "{}", self.facts())?;
        if self.is_outdated() {
            writeln!(
                formatter,
                "This block is older than the explanations that the peer keeps: they begin with block {explained_from}."
            )?;
        }
        writeln!(formatter, "{}", advice::of(code, self.reason()))
    }
}

fn refusal_facts(refusal: &Refusal, fact: &mut impl FnMut(&str, String)) {
    if !refusal.namespace.is_empty() {
        fact("key", place(&refusal.namespace, &refusal.collection, &refusal.key));
    }
    if !refusal.rule.is_empty() {
        fact("policy", refusal.rule.clone());
        fact("signed", listed(&refusal.signed_by, "nobody whose signature counts"));
        fact("missing", listed(&refusal.missing, "not known"));
    }
    fact("reason", refusal.text.clone());
}

/// A key and where it is, or the whole chaincode.
fn place(namespace: &str, collection: &str, key: &str) -> String {
    match (collection, key) {
        ("", "") => format!("none in particular, of {namespace}"),
        ("", key) => format!("{key:?} of {namespace}"),
        (collection, key) => format!("the one with hash {key} in collection {collection} of {namespace}"),
    }
}

fn listed(organizations: &[String], none: &str) -> String {
    match organizations {
        [] => none.to_owned(),
        _ => organizations.join(", "),
    }
}

fn version_text(version: &Version) -> String {
    format!("as written by transaction {} of block {}", version.tx_num, version.block_num)
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn conflict_json(conflict: &ReadConflict) -> Value {
    let version =
        |version: &Option<Version>| version.as_ref().map(|version| json!([version.block_num, version.tx_num]));
    let range = conflict.range.as_ref();
    json!({
        "namespace": conflict.namespace,
        "collection": some(&conflict.collection),
        "key": conflict.key,
        "kind": if range.is_some() { "phantom" } else { "mvcc" },
        "read_version": version(&conflict.read_version),
        "found_version": version(&conflict.found_version),
        "winner_tx_id": some(&conflict.winner_tx_id),
        "within_block": conflict.within_block,
        "range": range.map(|range| json!({
            "start": range.start_key, "end": range.end_key,
            "end_included": range.end_included, "summarized": range.summarized,
        })),
    })
}

fn policy_json(refusal: &Refusal) -> Value {
    json!({
        "namespace": refusal.namespace,
        "collection": some(&refusal.collection),
        "key": some(&refusal.key),
        "rule": refusal.rule,
        "signed_by": refusal.signed_by,
        "missing": refusal.missing,
    })
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
