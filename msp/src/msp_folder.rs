//! MSP folders in Fabric's layout.
//!
//! ```text
//! cacerts/  intermediatecerts/  admincerts/  crls/  tlscacerts/  tlsintermediatecerts/   PEM files
//! config.yaml                                                                            NodeOUs
//! signcerts/  keystore/                                        only of those who sign
//! ```
//! Of a folder every file with PEM content counts, in order of the names; others are skipped.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ripstop_proto::msp::{FabricCryptoConfig, FabricMspConfig, FabricNodeOUs, FabricOuIdentifier};

use crate::config_yaml::{self, ConfigYaml, Identifier};
use crate::msp::SetupError;
use crate::pem;

/// No certificate, list or key is larger.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a folder is no MSP.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file is far too large.
    #[error("{path} is larger than {FILE_BYTES_MAX} bytes; that is no certificate or key")]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A folder holds no PEM file.
    #[error("{path} holds no PEM file; {needed}")]
    Empty {
        /// Which.
        path: PathBuf,
        /// What it must hold.
        needed: &'static str,
    },
    /// `config.yaml` does not parse.
    #[error("{path}, line {line}: {problem}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The files were read, but make no MSP.
    #[error("the MSP folder {folder} is not usable: {cause}")]
    Setup {
        /// The folder.
        folder: PathBuf,
        /// Why.
        cause: SetupError,
    },
}

/// The configuration that a folder describes, without a signing identity.
pub(crate) fn config(msp_id: &str, folder: &Path) -> Result<FabricMspConfig, FolderError> {
    let list = |name: &str| pem_files(&folder.join(name));
    let root_certs = list("cacerts")?;
    if root_certs.is_empty() {
        let needed = "an MSP needs the certificate of at least one authority";
        return Err(FolderError::Empty { path: folder.join("cacerts"), needed });
    }
    let yaml = read_config_yaml(&folder.join("config.yaml"))?;
    let units = yaml.organizational_unit_identifiers.iter();
    Ok(FabricMspConfig {
        name: msp_id.to_owned(),
        root_certs,
        intermediate_certs: list("intermediatecerts")?,
        admins: list("admincerts")?,
        revocation_list: list("crls")?,
        signing_identity: None,
        organizational_unit_identifiers: units.map(|unit| identifier(folder, unit)).collect::<Result<_, _>>()?,
        crypto_config: Some(FabricCryptoConfig {
            signature_hash_family: "SHA2".into(),
            identity_identifier_hash_function: "SHA256".into(),
        }),
        tls_root_certs: list("tlscacerts")?,
        tls_intermediate_certs: list("tlsintermediatecerts")?,
        fabric_node_ous: node_ous(folder, &yaml)?,
    })
}

/// The first certificate of `signcerts/`.
pub(crate) fn signing_certificate(folder: &Path) -> Result<Bytes, FolderError> {
    let path = folder.join("signcerts");
    let first = pem_files(&path)?.into_iter().next();
    let needed = "whoever signs needs a certificate there";
    first.ok_or(FolderError::Empty { path, needed })
}

/// Every PEM file of `keystore/`.
pub(crate) fn keys(folder: &Path) -> Result<Vec<Bytes>, FolderError> {
    pem_files(&folder.join("keystore"))
}

fn read_config_yaml(path: &Path) -> Result<ConfigYaml, FolderError> {
    if !path.exists() {
        return Ok(ConfigYaml::default());
    }
    let bytes = read(path)?;
    let wrong = |(line, problem)| FolderError::Yaml { path: path.into(), line, problem };
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong((1, "not UTF-8 text".into())))?;
    config_yaml::parse(text).map_err(wrong)
}

fn node_ous(folder: &Path, yaml: &ConfigYaml) -> Result<Option<FabricNodeOUs>, FolderError> {
    if !yaml.node_ous_enabled {
        return Ok(None);
    }
    let [client, peer, admin, orderer] = &yaml.node_ous;
    let read = |unit: &Identifier| -> Result<Option<FabricOuIdentifier>, FolderError> {
        let named = !unit.organizational_unit_identifier.is_empty();
        named.then(|| identifier(folder, unit)).transpose()
    };
    Ok(Some(FabricNodeOUs {
        enable: true,
        client_ou_identifier: read(client)?,
        peer_ou_identifier: read(peer)?,
        admin_ou_identifier: read(admin)?,
        orderer_ou_identifier: read(orderer)?,
    }))
}

fn identifier(folder: &Path, unit: &Identifier) -> Result<FabricOuIdentifier, FolderError> {
    let certificate = if unit.certificate.is_empty() { Bytes::new() } else { read(&folder.join(&unit.certificate))? };
    let organizational_unit_identifier = unit.organizational_unit_identifier.clone();
    Ok(FabricOuIdentifier { certificate, organizational_unit_identifier })
}

/// Every file with PEM content, in order of the names. A missing folder is an empty one.
pub(crate) fn pem_files(folder: &Path) -> Result<Vec<Bytes>, FolderError> {
    let failed = |cause| FolderError::Read { path: folder.into(), cause };
    let listing = match std::fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in listing {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    let files = paths.into_iter().filter(|path| path.is_file());
    let contents = files.map(|path| read(&path)).collect::<Result<Vec<_>, _>>()?;
    Ok(contents.into_iter().filter(|text| pem::first_block(text).is_some()).collect())
}

pub(crate) fn read(path: &Path) -> Result<Bytes, FolderError> {
    let failed = |cause| FolderError::Read { path: path.into(), cause };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(FolderError::TooLarge { path: path.into() });
    }
    Ok(std::fs::read(path).map_err(failed)?.into())
}
