//! The folder of settings that Fabric's own `peer` program asks for before it does anything.

use std::path::PathBuf;

use anyhow::Context;

use crate::folder::Folder;

/// What of `core.yaml` the program reads when it talks to peers and orderers; everything that
/// depends on the organization comes from the environment (`ripstop env`).
const CORE_YAML: &str = "\
# Settings for Fabric's `peer` program as a client of this network.
# Addresses, TLS and identity come from the environment: eval \"$(ripstop env org1)\"
peer:
  tls:
    enabled: true
  client:
    connTimeout: 10s
  BCCSP:
    Default: SW
    SW:
      Hash: SHA2
      Security: 256
";

/// The folder that `FABRIC_CFG_PATH` names.
pub(crate) fn folder(folder: &Folder) -> PathBuf {
    folder.path().join("peercfg")
}

/// Writes the file, where it is not there.
pub(crate) fn write(network: &Folder) -> anyhow::Result<()> {
    let path = folder(network).join("core.yaml");
    if path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder(network))
        .and_then(|()| std::fs::write(&path, CORE_YAML))
        .with_context(|| format!("cannot write {}", path.display()))
}
