//! `counter`: sums that many transactions change at the same time.
//!
//! Functions, arguments, results and error texts are those of Fabric's high-throughput
//! sample in Go; rows written by either are read by the other. `PruneRows` is new: it folds
//! rows that the caller lists, and so never meets a conflict with concurrent updates.
//! `UpdateStandard`, `GetStandard` and `DelStandard` keep a sum under one key instead, to
//! show what that costs.

use ripstop_chaincode_sdk::{Amount, Counter, Failure, Pruned, Stub, View, contract};

/// The contract of the sample `counter`.
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> Result<(), ripstop_chaincode_sdk::RunError> {
/// ripstop_chaincode_sdk::run(ripstop_samples::HighThroughput).await
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct HighThroughput;

#[contract(name = "SmartContract", version = "1.0", rename_all = "PascalCase")]
impl HighThroughput {
    /// Adds (`+`) or subtracts (`-`) without reading anything.
    #[submit]
    async fn update(&self, stub: &Stub, name: String, delta: String, op: String) -> Result<String, Failure> {
        if f64::read(&delta).is_none() {
            return Err(Failure::new(format!("provided value was not a number: {delta}")));
        }
        if !matches!(op.as_str(), "+" | "-") {
            return Err(Failure::new(format!("operator {op} is unrecognized")));
        }
        counter(&name).add_text(stub, &op, &delta).await?;
        Ok(format!("Successfully added {op}{delta} to {name}"))
    }

    /// The sum of all rows.
    #[query]
    async fn get(&self, view: &View, name: String) -> Result<String, Failure> {
        let sum = counter(&name).sum(view).await?;
        Ok(sum.ok_or_else(|| absent(&name))?.to_string())
    }

    /// Folds all rows. Reads their range: an update at the same time makes it invalid.
    #[submit]
    async fn prune(&self, stub: &Stub, name: String) -> Result<String, Failure> {
        told(&name, counter(&name).prune_all(stub).await?)
    }

    /// Folds the rows whose keys are listed, as `Rows` lists them, and no others.
    #[submit]
    async fn prune_rows(&self, stub: &Stub, name: String, rows: Vec<String>) -> Result<String, Failure> {
        told(&name, counter(&name).prune(stub, &rows).await?)
    }

    /// The keys of at most `most` rows, for `PruneRows`.
    #[query]
    async fn rows(&self, view: &View, name: String, most: u32) -> Result<Vec<String>, Failure> {
        Ok(counter(&name).rows(view, usize::try_from(most)?).await?)
    }

    /// Deletes all rows.
    #[submit]
    async fn delete(&self, stub: &Stub, name: String) -> Result<String, Failure> {
        let count = counter(&name).delete(stub).await?;
        if count == 0 {
            return Err(absent(&name));
        }
        Ok(format!("Deleted {name}, {count} rows removed"))
    }

    /// Reads the sum under one key, changes it, and writes it back.
    #[submit]
    async fn update_standard(&self, stub: &Stub, name: String, delta: f64, operation: String) -> Result<f64, Failure> {
        let before = standard(stub, &name).await?.unwrap_or_default();
        let after = match operation.as_str() {
            "+" => before + delta,
            "-" => before - delta,
            _ => return Err(Failure::new(format!("unrecognized operation {operation}"))),
        };
        stub.put_state(&name, after.to_string()).await?;
        Ok(after)
    }

    /// The sum under one key.
    #[query]
    async fn get_standard(&self, view: &View, name: String) -> Result<String, Failure> {
        let value = standard(view, &name).await?;
        Ok(value.ok_or_else(|| absent(&name))?.to_string())
    }

    /// Deletes the sum under one key.
    #[submit]
    async fn del_standard(&self, stub: &Stub, name: String) -> Result<(), Failure> {
        Ok(stub.delete_state(&name).await?)
    }
}

fn counter(name: &str) -> Counter<f64> {
    Counter::named(name)
}

fn absent(name: &str) -> Failure {
    Failure::new(format!("no variable by the name {name} exists"))
}

fn told(name: &str, pruned: Pruned<f64>) -> Result<String, Failure> {
    let Pruned { rows, sum } = pruned;
    if rows == 0 {
        return Err(absent(name));
    }
    Ok(format!("Successfully pruned variable {name}, final value is {sum:.6}, {rows} rows pruned"))
}

async fn standard(view: &View, name: &str) -> Result<Option<f64>, Failure> {
    let Some(stored) = view.get_state(name).await? else { return Ok(None) };
    Ok(Some(std::str::from_utf8(&stored)?.parse()?))
}
