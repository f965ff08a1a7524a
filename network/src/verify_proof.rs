//! `verify-proof FILE --msp DIR…`: what a proof file shows to those who trust the given
//! authorities. Talks to nobody.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, ensure};
use ripstop_client::{StateProof, Vouchers, majority};
use ripstop_msp::Msp;
use serde_json::json;

use crate::cli::VerifyProof;
use crate::decoded::readable::{Printable, Readable};
use crate::output::{Tone, print, say};
use crate::state::Shown;
use crate::usage::Usage;

/// Twice what a peer's message can hold, since a byte is two digits, and room for the rest.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Verifies a proof file and says what it shows.
pub(crate) fn verify_proof(asked: &VerifyProof) -> anyhow::Result<()> {
    let msps = asked.msp.iter().map(|folder| msp(folder)).collect::<Result<Vec<_>, _>>()?;
    let trusted = NonZeroUsize::new(msps.len()).ok_or_else(|| Usage("--msp names no folder".to_owned()))?;
    let needed = asked.orgs.unwrap_or_else(|| majority(trusted));
    if needed > trusted {
        return Err(Usage(format!("--orgs {needed} cannot be met: --msp names {trusted}")).into());
    }
    let shown = asked.file.display();
    let proof = StateProof::from_json(&read(&asked.file)?).with_context(|| format!("{shown} cannot be used"))?;
    let vouchers = proof.verify(&msps, needed).with_context(|| format!("{shown} proves nothing"))?;
    match asked.json.json {
        true => say(&json(&proof, &vouchers, needed)),
        false => print(&text(&proof, &vouchers)),
    }
}

fn msp(folder: &Path) -> Result<Msp, Usage> {
    // The folder says nothing of the organization's name, which decides nothing here.
    Msp::from_folder(&folder.display().to_string(), folder).map_err(|error| Usage(format!("--msp: {error}")))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    let is_small = bytes.len() as u64 <= FILE_BYTES_MAX;
    ensure!(is_small, "{} is larger than {FILE_BYTES_MAX} bytes; that is no proof file", path.display());
    Ok(bytes)
}

fn json(proof: &StateProof, vouchers: &Vouchers, needed: NonZeroUsize) -> serde_json::Value {
    let content = proof.content.as_ref();
    let not_counted = vouchers.not_counted.iter();
    json!({
        "proved": true,
        "channel": proof.channel_id,
        "block": proof.block_number,
        "namespace": proof.namespace,
        "key": proof.key,
        "value": content.map(|content| Readable(content.value.clone())),
        "version": content.map(|content| [content.block_number, content.tx_index]),
        "metadata": content.and_then(|content| content.metadata.as_ref()).map(hex::encode),
        "metadata_missing": vouchers.metadata_is_missing,
        "organizations_needed": needed,
        "signed_by": vouchers.counted.iter().map(|it| json!({ "msp_id": it.msp_id, "subject": it.subject })).collect::<Vec<_>>(),
        "not_counted": not_counted.map(|it| json!({ "msp_id": it.msp_id, "reason": it.reason })).collect::<Vec<_>>(),
    })
}

fn text(proof: &StateProof, vouchers: &Vouchers) -> String {
    let mut text = format!("{}\n{}", Tone::Good.paint("PROVED"), Shown(proof));
    if vouchers.metadata_is_missing {
        text.push_str("The key has metadata, too, which this proof does not bring.\n");
    }
    for voucher in &vouchers.counted {
        let line = format!("signed by {} ({})", voucher.msp_id, voucher.subject);
        text.push_str(&format!("{}\n", Printable(&line)));
    }
    for other in &vouchers.not_counted {
        let line = format!("a signature of {} does not count: {}", other.msp_id, other.reason);
        text.push_str(&format!("{}\n", Printable(&line)));
    }
    text
}
