//! A number that many transactions change at the same time without conflict.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::marker::PhantomData;

use ripstop_proto::composite_key;

use crate::{Range, Stub, StubError, View};

/// The object type of the rows, and the names of their parts.
const ROW: &str = "varName~op~value~txID";

/// What a row holds: its key says everything.
const ROW_VALUE: &[u8] = &[0];

/// Rows that one [`Counter::prune`] may name.
pub const PRUNED_ROWS_MAX: usize = 1000;

/// Why a counter cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// The stub's word.
    #[error(transparent)]
    Stub(#[from] StubError),
    /// A row that is not one of such a counter.
    #[error("{row:?} is not a row of the counter {counter}: {cause}")]
    Row {
        /// The counter.
        counter: String,
        /// The row's key.
        row: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// A sum that its type cannot hold.
    #[error("the counter {0} is larger than its type")]
    Overflow(String),
    /// More rows in one call than its limit.
    #[error("{0} rows are more than the {PRUNED_ROWS_MAX} that one call may name: name them in several calls")]
    TooManyRows(usize),
}

/// What a counter counts in: `i64`, `i128`, or `f64` as Fabric's sample does.
pub trait Amount: Copy + PartialOrd + Display + Send + Sync {
    /// Nothing.
    const ZERO: Self;

    /// Reads the text of a row.
    fn read(text: &str) -> Option<Self>;

    /// The sum, `None` when the type cannot hold it.
    fn plus(self, other: Self) -> Option<Self>;

    /// The difference, `None` when the type cannot hold it.
    fn minus(self, other: Self) -> Option<Self>;
}

macro_rules! integer_amounts {
    ($($type:ty),+) => {$(
        impl Amount for $type {
            const ZERO: Self = 0;

            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn plus(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }

            fn minus(self, other: Self) -> Option<Self> {
                self.checked_sub(other)
            }
        }
    )+};
}
integer_amounts!(i64, i128);

/// Infinities and "not a number" are no amounts: a counter would never leave them again.
impl Amount for f64 {
    const ZERO: Self = 0.0;

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|amount: &Self| amount.is_finite())
    }

    fn plus(self, other: Self) -> Option<Self> {
        Some(self + other).filter(|sum| sum.is_finite())
    }

    fn minus(self, other: Self) -> Option<Self> {
        Some(self - other).filter(|difference| difference.is_finite())
    }
}

/// A number kept as the list of its changes: each change is a row of its own, and the value
/// is their sum. So changes never conflict, and reading costs a range.
///
/// Rows are composite keys `varName~op~value~txID` as in Fabric's high-throughput sample,
/// which reads these and whose rows are read here.
///
/// ```
/// use ripstop_chaincode_sdk::{Counter, Failure, Stub, View};
///
/// const VISITS: Counter<i64> = Counter::new("visits");
///
/// async fn visit(stub: &Stub) -> Result<(), Failure> {
///     Ok(VISITS.add(stub, 1).await?)
/// }
///
/// async fn visits(view: &View) -> Result<i64, Failure> {
///     Ok(VISITS.value(view).await?)
/// }
///
/// /// Names the rows to fold when there are more than a thousand; no submit.
/// async fn old_rows(view: &View) -> Result<Vec<String>, Failure> {
///     Ok(VISITS.rows_to_prune(view, 1000, 500).await?)
/// }
///
/// /// Folds them.
/// async fn prune(stub: &Stub, rows: Vec<String>) -> Result<usize, Failure> {
///     Ok(VISITS.prune(stub, &rows).await?.rows)
/// }
/// ```
pub struct Counter<A> {
    name: Cow<'static, str>,
    amount: PhantomData<fn() -> A>,
}

/// What a [`Counter::prune`] did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pruned<A> {
    /// Rows that were folded. Rows that were gone already are not among them.
    pub rows: usize,
    /// Their sum, now one row.
    pub sum: A,
}

impl<A: Amount> Counter<A> {
    /// The counter of this name.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), amount: PhantomData }
    }

    /// The counter of a name that the caller gives.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Cow::Owned(name.into()), amount: PhantomData }
    }

    /// Adds `amount`. Records one write of a key that nothing else has, and no read: any
    /// number of transactions may add at the same time.
    ///
    /// A chaincode that calls this one twice in a transaction, to add the same amount to
    /// the same counter, adds it once: the second row has the first one's key.
    ///
    /// # Errors
    /// When the name cannot stand in a composite key, or the peer refuses.
    pub async fn add(&self, stub: &Stub, amount: A) -> Result<(), CounterError> {
        self.add_text(stub, "+", &amount.to_string()).await
    }

    /// Subtracts `amount`, as [`Counter::add`]; the value may become negative.
    ///
    /// # Errors
    /// As [`Counter::add`].
    pub async fn subtract(&self, stub: &Stub, amount: A) -> Result<(), CounterError> {
        self.add_text(stub, "-", &amount.to_string()).await
    }

    /// A change as a row has it: `operation` is "+" or "-", `amount` the text of an `A`,
    /// which is kept as it is written.
    ///
    /// # Errors
    /// When it is none, or as [`Counter::add`].
    pub async fn add_text(&self, stub: &Stub, operation: &str, amount: &str) -> Result<(), CounterError> {
        let key =
            composite_key::create(ROW, &[&self.name, operation, amount, &stub.row_id()]).map_err(StubError::from)?;
        self.signed(&key)?;
        Ok(stub.put_state(&key, ROW_VALUE).await?)
    }

    /// The value; zero for a counter without rows. Records the range of all its rows: in a
    /// submit that meets every concurrent add as a phantom, so read in queries.
    ///
    /// # Errors
    /// When a row is none of such a counter, the sum overflows, or the peer refuses.
    pub async fn value(&self, view: &View) -> Result<A, CounterError> {
        Ok(self.sum(view).await?.unwrap_or(A::ZERO))
    }

    /// As [`Counter::value`], but `None` for a counter without rows.
    ///
    /// # Errors
    /// As [`Counter::value`].
    pub async fn sum(&self, view: &View) -> Result<Option<A>, CounterError> {
        let mut rows = self.open(view).await?;
        let mut sum = None;
        while let Some(row) = rows.next().await? {
            sum = Some(self.fold(sum.unwrap_or(A::ZERO), &row.key)?);
        }
        Ok(sum)
    }

    /// The keys of at most `most` rows, the first in their order. Records their range: for
    /// queries, as [`Counter::value`].
    ///
    /// # Errors
    /// When the peer refuses.
    pub async fn rows(&self, view: &View, most: usize) -> Result<Vec<String>, CounterError> {
        let mut range = self.open(view).await?;
        let mut rows = Vec::new();
        while rows.len() < most {
            let Some(row) = range.next().await? else { return Ok(rows) };
            rows.push(row.key);
        }
        range.close().await?;
        Ok(rows)
    }

    /// Which rows a [`Counter::prune`] should name: none while there are at most `kept`,
    /// else the first `most` of them. A query, as [`Counter::rows`].
    ///
    /// # Errors
    /// As [`Counter::rows`].
    pub async fn rows_to_prune(&self, view: &View, kept: usize, most: usize) -> Result<Vec<String>, CounterError> {
        let mut rows = self.rows(view, kept.saturating_add(1).max(most)).await?;
        if rows.len() <= kept {
            return Ok(Vec::new());
        }
        rows.truncate(most);
        Ok(rows)
    }

    /// Replaces the rows named, as [`Counter::rows_to_prune`] of an earlier query lists
    /// them, by one row of their sum.
    ///
    /// Records a read and a delete of each row and a write of the new one, and no range:
    /// adds at the same time do not disturb it, and of two prunes that name the same row
    /// one is valid. All of it happens when the transaction commits or nothing does, so no
    /// change is lost or counted twice however it fails. Rows that are gone are left out.
    ///
    /// # Errors
    /// When there are more than [`PRUNED_ROWS_MAX`], one is none of this counter, the sum
    /// overflows, or the peer refuses.
    pub async fn prune(&self, stub: &Stub, rows: &[String]) -> Result<Pruned<A>, CounterError> {
        if rows.len() > PRUNED_ROWS_MAX {
            return Err(CounterError::TooManyRows(rows.len()));
        }
        let rows: Vec<&String> = rows.iter().collect::<BTreeSet<_>>().into_iter().collect();
        for row in &rows {
            self.signed(row)?;
        }
        let mut pruned = Pruned { rows: 0, sum: A::ZERO };
        for (row, stored) in rows.iter().zip(stub.get_states(&rows).await?) {
            if stored.is_some() {
                pruned = Pruned { rows: pruned.rows + 1, sum: self.fold(pruned.sum, row)? };
                stub.delete_state(row).await?;
            }
        }
        if pruned.rows > 0 {
            self.add(stub, pruned.sum).await?;
        }
        Ok(pruned)
    }

    /// Replaces all rows by one of their sum. Records the range of all rows: a concurrent
    /// add makes it invalid, so prefer [`Counter::prune`].
    ///
    /// # Errors
    /// As [`Counter::value`].
    pub async fn prune_all(&self, stub: &Stub) -> Result<Pruned<A>, CounterError> {
        let rows = self.rows(stub, usize::MAX).await?;
        let mut sum = A::ZERO;
        for row in &rows {
            sum = self.fold(sum, row)?;
            stub.delete_state(row).await?;
        }
        if !rows.is_empty() {
            self.add(stub, sum).await?;
        }
        Ok(Pruned { rows: rows.len(), sum })
    }

    /// Deletes all rows, and returns how many they were. Records the range of all rows:
    /// a concurrent add makes it invalid.
    ///
    /// # Errors
    /// When the peer refuses.
    pub async fn delete(&self, stub: &Stub) -> Result<usize, CounterError> {
        let rows = self.rows(stub, usize::MAX).await?;
        for row in &rows {
            stub.delete_state(row).await?;
        }
        Ok(rows.len())
    }

    async fn open<'view>(&self, view: &'view View) -> Result<Range<'view>, CounterError> {
        Ok(view.get_state_by_partial_composite_key(ROW, &[&self.name]).await?)
    }

    fn fold(&self, sum: A, row: &str) -> Result<A, CounterError> {
        let (is_added, amount) = self.signed(row)?;
        let sum = if is_added { sum.plus(amount) } else { sum.minus(amount) };
        sum.ok_or_else(|| CounterError::Overflow(self.name.to_string()))
    }

    /// The change that a row's key says.
    fn signed(&self, row: &str) -> Result<(bool, A), CounterError> {
        let wrong = |cause| CounterError::Row { counter: self.name.to_string(), row: row.to_owned(), cause };
        let (object_type, parts) = composite_key::split(row).map_err(|_| wrong("it is not a composite key"))?;
        let [name, operation, amount, _] = parts.as_slice() else {
            return Err(wrong("it has not the four parts varName, op, value and txID"));
        };
        if object_type != ROW || *name != self.name {
            return Err(wrong("it is of something else"));
        }
        let is_added = match operation.as_str() {
            "+" => true,
            "-" => false,
            _ => return Err(wrong("its operation is neither + nor -")),
        };
        Ok((is_added, A::read(amount).ok_or_else(|| wrong("its amount is not a number of the counter's type"))?))
    }
}
