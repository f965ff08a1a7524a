//! The receipt that travels with an envelope through the consenter: whom to tell, and the
//! room that the envelope takes up meanwhile.
//!
//! Every receipt is answered exactly once: with what became of the envelope or, when it is
//! lost on the way because the channel stops, with that.

use ripstop_proto::common::Status;
use ripstop_proto::ripstop::v1::SubmitOutcome;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Where the outcome of an item of a stream goes, with the item's place in the stream.
pub(crate) type Outcomes = mpsc::UnboundedSender<(SubmitOutcome, OwnedSemaphorePermit)>;

/// One envelope's receipt.
#[derive(Debug)]
pub(crate) struct Receipt {
    item: Option<Item>,
    /// Bytes of the channel's intake; given back when the receipt goes.
    _room: OwnedSemaphorePermit,
}

/// An item of an `Ordering/Submit` stream that waits for its outcome.
#[derive(Debug)]
pub(crate) struct Item {
    /// Chosen by the sender.
    pub(crate) correlation_id: u64,
    /// One of the stream's items in flight.
    pub(crate) place: OwnedSemaphorePermit,
    /// The stream's answers.
    pub(crate) outcomes: Outcomes,
}

impl Item {
    /// Tells the outcome.
    pub(crate) fn answer(self, status: Status, info: impl Into<String>) {
        let Self { correlation_id, place, outcomes } = self;
        let outcome = SubmitOutcome { correlation_id, status: status.into(), info: info.into() };
        // A closed stream has nobody left to tell.
        let _ = outcomes.send((outcome, place));
    }
}

impl Receipt {
    /// For an envelope whose sender wants no word of its outcome (`item` is `None`) or does.
    pub(crate) fn new(room: OwnedSemaphorePermit, item: Option<Item>) -> Self {
        Self { item, _room: room }
    }

    /// The envelope's block is durable.
    pub(crate) fn ordered(mut self) {
        self.answer(Status::Success, "");
    }

    /// The envelope was not ordered, as far as is known here.
    pub(crate) fn refused(mut self, reason: &str) {
        self.answer(Status::ServiceUnavailable, reason);
    }

    /// Another consenter said what became of the envelope.
    pub(crate) fn answered(mut self, status: Status, info: &str) {
        self.answer(status, info);
    }

    fn answer(&mut self, status: Status, info: &str) {
        if let Some(item) = self.item.take() {
            item.answer(status, info);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.answer(Status::ServiceUnavailable, "chain is stopped: send the same envelope to another orderer");
    }
}
