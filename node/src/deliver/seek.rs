//! Seek positions to a range of block numbers. Pure: the height is an argument.
//!
//! | position | as start | as stop |
//! |---|---|---|
//! | oldest | block 0, refused where that is gone | the resolved start: one block |
//! | newest | height - 1 | as start if both are newest, else height - 1 now |
//! | specified n | n, refused above the height | n, however far ahead; refused below the start |
//! | next_commit | the height | block 0, so mostly no end |
//! | unset | refused | as next_commit |

use ripstop_proto::common::Status;
use ripstop_proto::orderer::seek_info::{SeekBehavior, SeekContentType, SeekErrorResponse};
use ripstop_proto::orderer::seek_position::Type;
use ripstop_proto::orderer::{SeekInfo, SeekPosition};

use super::Refusal;

/// A request for blocks, understood but not yet set against a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Seek {
    start: Option<SeekPosition>,
    stop: Option<SeekPosition>,
    /// Whether a block beyond the height is refused rather than awaited.
    pub fail_if_not_ready: bool,
    /// Whether blocks are wanted even while consensus does not work.
    pub best_effort: bool,
    /// Whether blocks other than configuration blocks come without their data.
    pub headers_only: bool,
}

/// Blocks from `next` on; the one numbered `stop` is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The next block to send.
    pub next: u64,
    /// The number after which the range ends. Below `next` it is never met: no end.
    pub stop: u64,
}

impl From<SeekInfo> for Seek {
    fn from(info: SeekInfo) -> Self {
        Self {
            fail_if_not_ready: info.behavior == SeekBehavior::FailIfNotReady as i32,
            best_effort: info.error_response == SeekErrorResponse::BestEffort as i32,
            headers_only: info.content_type == SeekContentType::HeaderWithSig as i32,
            start: info.start,
            stop: info.stop,
        }
    }
}

impl Seek {
    /// The range on a chain that has the blocks `first..height`.
    ///
    /// # Errors
    /// BAD_REQUEST without start or stop, or with a stop below the start; NOT_FOUND for a
    /// start that is gone or beyond the height, however patient the request is.
    pub fn range(&self, first: u64, height: u64) -> Result<Range, Refusal> {
        let (Some(start), Some(stop)) = (&self.start, &self.stop) else {
            return Err(Refusal::new(Status::BadRequest, "seek info lacks start or stop"));
        };
        let next = first_number(start, first, height)?;
        let stop = match &stop.r#type {
            Some(Type::Oldest(_)) => next,
            Some(Type::Newest(_)) if start == stop => next,
            Some(Type::Newest(_)) => height.saturating_sub(1),
            Some(Type::Specified(specified)) if specified.number < next => {
                let reason = format!("start block {next} is after stop block {}", specified.number);
                return Err(Refusal::new(Status::BadRequest, reason));
            }
            Some(Type::Specified(specified)) => specified.number,
            Some(Type::NextCommit(_)) | None => 0,
        };
        Ok(Range { next, stop })
    }

    /// Whether block `number` is refused because it is not there yet.
    ///
    /// # Errors
    /// NOT_FOUND.
    pub fn ready(&self, number: u64, height: u64) -> Result<(), Refusal> {
        if self.fail_if_not_ready && number >= height {
            let reason = format!("block {number} is not there yet, the height is {height}");
            return Err(Refusal::new(Status::NotFound, reason));
        }
        Ok(())
    }
}

fn first_number(start: &SeekPosition, first: u64, height: u64) -> Result<u64, Refusal> {
    let number = match &start.r#type {
        Some(Type::Oldest(_)) => 0,
        Some(Type::Newest(_)) => height.saturating_sub(1).max(first.min(height)),
        Some(Type::Specified(specified)) => specified.number,
        Some(Type::NextCommit(_)) => height,
        None => return Err(Refusal::new(Status::NotFound, "start position is empty")),
    };
    if number > height {
        let reason = format!("start block {number} is beyond the height {height}");
        return Err(Refusal::new(Status::NotFound, reason));
    }
    if number < first {
        let reason = format!("start block {number} is not here, the first one is {first}");
        return Err(Refusal::new(Status::NotFound, reason));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use ripstop_proto::orderer::{SeekNewest, SeekNextCommit, SeekOldest, SeekSpecified};

    use super::*;

    const HEIGHT: u64 = 10;

    fn oldest() -> Option<Type> {
        Some(Type::Oldest(SeekOldest {}))
    }

    fn newest() -> Option<Type> {
        Some(Type::Newest(SeekNewest {}))
    }

    fn specified(number: u64) -> Option<Type> {
        Some(Type::Specified(SeekSpecified { number }))
    }

    fn next_commit() -> Option<Type> {
        Some(Type::NextCommit(SeekNextCommit {}))
    }

    fn seek(start: Option<Type>, stop: Option<Type>) -> Seek {
        SeekInfo {
            start: Some(SeekPosition { r#type: start }),
            stop: Some(SeekPosition { r#type: stop }),
            ..SeekInfo::default()
        }
        .into()
    }

    fn range(start: Option<Type>, stop: Option<Type>) -> Result<(u64, u64), Status> {
        seek(start, stop).range(0, HEIGHT).map(|range| (range.next, range.stop)).map_err(|refusal| refusal.status)
    }

    #[test]
    fn every_start_has_its_number() {
        let far = || specified(u64::MAX);
        assert_eq!(range(oldest(), far()), Ok((0, u64::MAX)));
        assert_eq!(range(newest(), far()), Ok((9, u64::MAX)));
        assert_eq!(range(specified(0), far()), Ok((0, u64::MAX)));
        assert_eq!(range(specified(9), far()), Ok((9, u64::MAX)));
        assert_eq!(range(specified(10), far()), Ok((10, u64::MAX)), "the height itself is awaited");
        assert_eq!(range(specified(11), far()), Err(Status::NotFound), "beyond the height, even when patient");
        assert_eq!(range(next_commit(), far()), Ok((10, u64::MAX)));
        assert_eq!(range(None, far()), Err(Status::NotFound));
    }

    #[test]
    fn an_oldest_stop_means_one_block_whatever_the_start() {
        assert_eq!(range(oldest(), oldest()), Ok((0, 0)));
        assert_eq!(range(newest(), oldest()), Ok((9, 9)));
        assert_eq!(range(specified(4), oldest()), Ok((4, 4)));
        assert_eq!(range(next_commit(), oldest()), Ok((10, 10)));
    }

    #[test]
    fn a_newest_stop_is_the_last_block_at_request_time() {
        assert_eq!(range(newest(), newest()), Ok((9, 9)));
        assert_eq!(range(oldest(), newest()), Ok((0, 9)));
        assert_eq!(range(specified(4), newest()), Ok((4, 9)));
        assert_eq!(range(specified(10), newest()), Ok((10, 9)), "never met: no end");
        assert_eq!(range(next_commit(), newest()), Ok((10, 9)), "never met: no end");
    }

    #[test]
    fn a_specified_stop_may_lie_ahead_but_not_before_the_start() {
        assert_eq!(range(oldest(), specified(0)), Ok((0, 0)));
        assert_eq!(range(oldest(), specified((1 << 53) - 1)), Ok((0, (1 << 53) - 1)));
        assert_eq!(range(specified(5), specified(5)), Ok((5, 5)));
        assert_eq!(range(specified(5), specified(4)), Err(Status::BadRequest));
        assert_eq!(range(newest(), specified(8)), Err(Status::BadRequest));
        assert_eq!(range(next_commit(), specified(9)), Err(Status::BadRequest));
        assert_eq!(range(specified(11), specified(4)), Err(Status::NotFound), "the start is looked at first");
    }

    #[test]
    fn a_next_commit_stop_ends_only_at_block_zero() {
        assert_eq!(range(oldest(), next_commit()), Ok((0, 0)));
        assert_eq!(range(newest(), next_commit()), Ok((9, 0)));
        assert_eq!(range(specified(3), next_commit()), Ok((3, 0)));
        assert_eq!(range(next_commit(), next_commit()), Ok((10, 0)));
        assert_eq!(range(specified(3), None), Ok((3, 0)), "an empty stop is the same");
    }

    #[test]
    fn start_and_stop_must_be_there() {
        let positions = SeekPosition { r#type: oldest() };
        let without_stop = Seek::from(SeekInfo { start: Some(positions), ..SeekInfo::default() });
        assert_eq!(without_stop.range(0, HEIGHT).unwrap_err().status, Status::BadRequest);
        let without_start = Seek::from(SeekInfo { stop: Some(positions), ..SeekInfo::default() });
        assert_eq!(without_start.range(0, HEIGHT).unwrap_err().status, Status::BadRequest);
    }

    #[test]
    fn after_a_snapshot_the_oldest_block_is_not_found() {
        let start = |position| seek(position, specified(u64::MAX)).range(7, HEIGHT).map(|range| range.next);
        assert_eq!(start(oldest()).unwrap_err().status, Status::NotFound);
        assert_eq!(start(specified(6)).unwrap_err().status, Status::NotFound);
        assert_eq!(start(specified(7)).unwrap(), 7);
        assert_eq!(start(newest()).unwrap(), 9);
        let fresh = seek(newest(), specified(u64::MAX)).range(HEIGHT, HEIGHT).unwrap();
        assert_eq!(fresh.next, HEIGHT, "with no block yet after the snapshot, the newest is the next");
    }

    #[test]
    fn only_the_impatient_are_refused_a_block_that_is_not_there() {
        let patient = seek(oldest(), newest());
        assert!(patient.ready(HEIGHT, HEIGHT).is_ok());
        let impatient = Seek { fail_if_not_ready: true, ..patient };
        assert!(impatient.ready(HEIGHT - 1, HEIGHT).is_ok());
        assert_eq!(impatient.ready(HEIGHT, HEIGHT).unwrap_err().status, Status::NotFound);
    }

    #[test]
    fn the_flags_are_read() {
        let info = SeekInfo {
            behavior: SeekBehavior::FailIfNotReady.into(),
            error_response: SeekErrorResponse::BestEffort.into(),
            content_type: SeekContentType::HeaderWithSig.into(),
            ..SeekInfo::default()
        };
        let seek = Seek::from(info);
        assert!(seek.fail_if_not_ready && seek.best_effort && seek.headers_only);
        let unknown = SeekInfo { behavior: 9, error_response: 9, content_type: 9, ..SeekInfo::default() };
        let seek = Seek::from(unknown);
        assert!(!seek.fail_if_not_ready && !seek.best_effort && !seek.headers_only);
    }
}
