//! The table: what was asked, what came back, what should have. After every case an honest
//! transaction has to commit, so that a refusal never costs more than its request.

use std::collections::BTreeSet;

use prost::Message;
use ripstop_ledger::{Ledger, Options};
use ripstop_proto::common::Envelope;
use ripstop_proto::protos::TxValidationCode;

use super::stage::Stage;

/// The cases so far.
pub(super) struct Table<'a> {
    stage: &'a Stage,
    names: BTreeSet<String>,
    failures: Vec<String>,
    recorded: Vec<Recorded>,
}

/// A transaction that stands in a block; peers keep the text beside the block.
struct Recorded {
    name: String,
    block_number: u64,
    tx_index: u32,
    code: TxValidationCode,
    text: String,
}

impl<'a> Table<'a> {
    pub(super) fn new(stage: &'a Stage) -> Self {
        Self { stage, names: BTreeSet::new(), failures: Vec::new(), recorded: Vec::new() }
    }

    /// One case: `got` has to be `wanted`, where `…` stands for what a decoder or the clock adds.
    pub(super) async fn case(&mut self, name: &str, got: String, wanted: &str) {
        self.add(name);
        if !matches(&got, wanted) {
            self.failures.push(format!("{name}\n     got: {got}\n  wanted: {wanted}"));
        }
        self.stage.commit_honestly().await;
    }

    /// One case: the orderer takes the envelope, and every peer gives it `code` with `text`.
    pub(super) async fn committed(&mut self, name: &str, envelope: Envelope, code: TxValidationCode, text: &str) {
        self.ordered(name, &envelope, envelope.encode_to_vec(), code, text).await;
    }

    /// Like [`Table::committed`], with other bytes for the orderer than those of the block.
    pub(super) async fn ordered(
        &mut self,
        name: &str,
        envelope: &Envelope,
        bytes: Vec<u8>,
        code: TxValidationCode,
        text: &str,
    ) {
        self.add(name);
        let answer = self.stage.order(&[bytes]).await;
        if answer != ["SUCCESS"] {
            return self.failures.push(format!("{name}\n  was not ordered: {answer:?}"));
        }
        let last = self.stage.commit_honestly().await;
        let Some((block_number, tx_index, found)) = self.stage.find(&envelope.encode_to_vec(), last).await else {
            return self.failures.push(format!("{name}\n  is in no block"));
        };
        if found != code {
            self.failures.push(format!("{name}\n     got: {}\n  wanted: {}", found.as_str_name(), code.as_str_name()));
        }
        self.recorded.push(Recorded { name: name.to_owned(), block_number, tx_index, code, text: text.to_owned() });
    }

    /// Reads code and text of every ordered case from the ledgers of all peers, which have
    /// to be stopped; then says what was wrong, and how many cases there were.
    pub(super) fn close(mut self) -> usize {
        for peer in ["peer0.org1.example.com", "peer0.org2.example.com"] {
            let ledger = Ledger::open(self.stage.network.ledger(peer), Options::default()).unwrap();
            for case in &self.recorded {
                if let Err(failure) = case.check(&ledger) {
                    self.failures.push(format!("{} (at {peer})\n     {failure}", case.name));
                }
            }
        }
        assert!(self.failures.is_empty(), "{} cases failed:\n{}", self.failures.len(), self.failures.join("\n"));
        self.names.len()
    }

    fn add(&mut self, name: &str) {
        assert!(self.names.insert(name.to_owned()), "two cases are called {name:?}");
    }
}

impl Recorded {
    fn check(&self, ledger: &Ledger) -> Result<(), String> {
        let record = ledger.record(self.block_number).unwrap().unwrap();
        let block = record.block.unwrap_or_default();
        let codes = ripstop_proto::block::metadata_slot(&block, ripstop_proto::block::TRANSACTIONS_FILTER);
        let code = codes.get(self.tx_index as usize).copied();
        if code != Some(self.code as u8) {
            return Err(format!("has code {code:?}, not {}", self.code as u8));
        }
        let refusal = record.refusals.iter().find(|refusal| refusal.tx_index == self.tx_index);
        let text = refusal.map_or("", |refusal| refusal.text.as_str());
        if matches(text, &self.text) { Ok(()) } else { Err(format!("got: {text}\n  wanted: {}", self.text)) }
    }
}

fn matches(got: &str, wanted: &str) -> bool {
    match wanted.split_once('…') {
        Some((beginning, end)) => got.starts_with(beginning) && got.ends_with(end),
        None => got == wanted,
    }
}
