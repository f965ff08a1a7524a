//! `submit` and `query`: one call of a chaincode.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use serde_json::json;

use crate::blocks;
use crate::cli::{Call, Target};
use crate::folder::Folder;
use crate::output::say;
use crate::session::Session;

/// Submits a transaction, waits until it is committed and says what became of it; the exit
/// code is 1 when it is invalid.
pub(crate) async fn submit(folder: &Folder, target: &Target, call: &Call) -> anyhow::Result<ExitCode> {
    let session = Session::open(folder, target).await?;
    let began = Instant::now();
    let proposal = session.contract(&call.chaincode).new_proposal(&call.function).arguments(&call.arguments).build()?;
    let transaction = proposal.endorse().await?;
    let endorsed = Instant::now();
    let commit = transaction.submit().await?;
    let ordered_at = Instant::now();
    let status = commit.status().await?;
    let committed = Instant::now();
    let tx_index = blocks::position(&session, status.block_number, &status.transaction_id)
        .await
        .context("the transaction is committed, but its place in the block cannot be read")?;
    let ms = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1000.0;
    let stages = [
        ("endorse", ms(began, endorsed)),
        ("order", ms(endorsed, ordered_at)),
        ("commit", ms(ordered_at, committed)),
        ("total", ms(began, committed)),
    ];
    let result = String::from_utf8_lossy(transaction.result());
    let code = status.code.as_str_name();
    if call.json.json {
        let stages_ms: serde_json::Map<_, _> =
            stages.iter().map(|(stage, duration)| ((*stage).to_owned(), json!(duration))).collect();
        say(
            &json!({ "tx_id": status.transaction_id, "block": status.block_number, "tx_index": tx_index, "code": code,
                    "code_number": status.code as i32, "result": result, "stages_ms": stages_ms }),
        )?;
    } else {
        say(&format!("{code}  block {}, transaction {tx_index}", status.block_number))?;
        say(&format!("tx id   {}", status.transaction_id))?;
        if !result.is_empty() {
            say(&format!("result  {result}"))?;
        }
        let stages = stages.map(|(stage, duration)| format!("{stage} {duration:.1} ms"));
        say(&format!("took    {}", stages.join(", ")))?;
        if !status.is_successful() {
            say(&format!("why     ripstop why {}", status.transaction_id))?;
        }
    }
    Ok(if status.is_successful() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks a chaincode, and prints what it returns.
pub(crate) async fn query(folder: &Folder, target: &Target, call: &Call) -> anyhow::Result<()> {
    let session = Session::open(folder, target).await?;
    let arguments: Vec<&str> = call.arguments.iter().map(String::as_str).collect();
    let result = session.contract(&call.chaincode).evaluate(&call.function, &arguments).await?;
    let result = String::from_utf8_lossy(&result);
    if call.json.json {
        say(&json!({ "result": result }))?;
    } else {
        say(&result)?;
    }
    Ok(())
}
