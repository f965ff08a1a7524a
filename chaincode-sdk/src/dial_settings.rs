//! Which peer a contract's program dials, and as which package it registers.
//!
//! Read from the variables that Fabric's peers and shims use.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::SettingsError;

/// Settings of a [`crate::Dialer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialSettings {
    /// "host:port" of the peer's listener for chaincode.
    pub peer_address: String,
    /// The id of the installed package, `label:hash`; in a peer's dev mode any
    /// "name:version".
    pub package_id: String,
    /// `None`: plain HTTP/2.
    pub tls: Option<DialTlsSettings>,
}

/// Key material in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct DialTlsSettings {
    /// The peer has to show a certificate issued by one of these.
    pub roots_pem: Vec<u8>,
    /// Certificate and private key that the peer is shown, where there are any.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for DialTlsSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let identity = self.identity.is_some();
        formatter.debug_struct("DialTlsSettings").field("identity", &identity).finish_non_exhaustive()
    }
}

impl DialSettings {
    /// Reads the process environment.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `CORE_PEER_ADDRESS` | host:port of the peer |
    /// | `CORE_CHAINCODE_ID_NAME` | the package id |
    /// | `CORE_PEER_TLS_ENABLED` | `true` or `false` (the default) |
    /// | `CORE_PEER_TLS_ROOTCERT_FILE` | file with the PEM of the peer's root |
    /// | `CORE_TLS_CLIENT_KEY_FILE`, `CORE_TLS_CLIENT_CERT_FILE` | optional files with the PEM of key and certificate |
    /// | `CORE_TLS_CLIENT_KEY_PATH`, `CORE_TLS_CLIENT_CERT_PATH` | the same, where those are not set, with the PEM in base64 |
    ///
    /// # Errors
    /// Names the variable that is missing, or the file that cannot be read.
    pub fn from_environment() -> Result<Self, SettingsError> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// Like [`DialSettings::from_environment`], with variables from elsewhere.
    ///
    /// # Errors
    /// As [`DialSettings::from_environment`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let required = |name, advice| variable(name).ok_or(SettingsError::Missing(name, advice));
        let peer_address =
            required("CORE_PEER_ADDRESS", "set it to the host:port where the peer listens for chaincode")?;
        let package_id =
            required("CORE_CHAINCODE_ID_NAME", "set it to the package id that installing the package printed")?;
        let tls_enabled = variable("CORE_PEER_TLS_ENABLED").is_some_and(|value| crate::settings::is_true(&value));
        let tls = if tls_enabled { Some(DialTlsSettings::from_variables(&variable)?) } else { None };
        Ok(Self { peer_address, package_id, tls })
    }
}

impl DialTlsSettings {
    fn from_variables(variable: &impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        const ROOTS: &str = "CORE_PEER_TLS_ROOTCERT_FILE";
        let roots = variable(ROOTS)
            .ok_or(SettingsError::Missing(ROOTS, "with CORE_PEER_TLS_ENABLED=true it names a PEM file"))?;
        let key = pem(variable, "CORE_TLS_CLIENT_KEY_FILE", "CORE_TLS_CLIENT_KEY_PATH")?;
        let certificate = pem(variable, "CORE_TLS_CLIENT_CERT_FILE", "CORE_TLS_CLIENT_CERT_PATH")?;
        Ok(Self { roots_pem: read(ROOTS, roots)?, identity: certificate.zip(key) })
    }
}

/// From the file of PEM, or else from the file of PEM in base64.
fn pem(
    variable: &impl Fn(&str) -> Option<String>,
    plain: &'static str,
    encoded: &'static str,
) -> Result<Option<Vec<u8>>, SettingsError> {
    if let Some(path) = variable(plain) {
        return read(plain, path).map(Some);
    }
    let Some(path) = variable(encoded) else { return Ok(None) };
    let text = read(encoded, path.clone())?;
    let pem = BASE64_STANDARD.decode(text.trim_ascii()).map_err(|cause| SettingsError::File {
        variable: encoded,
        path: PathBuf::from(path),
        cause: std::io::Error::new(std::io::ErrorKind::InvalidData, format!("it is not base64: {cause}")),
    })?;
    Ok(Some(pem))
}

fn read(variable: &'static str, path: String) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(&path).map_err(|cause| SettingsError::File { variable, path: path.into(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(variables: &[(&str, &str)]) -> Result<DialSettings, SettingsError> {
        DialSettings::from_variables(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const PEER: [(&str, &str); 2] = [("CORE_PEER_ADDRESS", "peer:7052"), ("CORE_CHAINCODE_ID_NAME", "basic:ab")];

    #[test]
    fn address_and_package_id_are_enough_without_tls() {
        for more in [&[][..], &[("CORE_PEER_TLS_ENABLED", "false")]] {
            let settings = read_from(&[&PEER, more].concat()).unwrap();
            assert_eq!((settings.peer_address.as_str(), settings.package_id.as_str()), ("peer:7052", "basic:ab"));
            assert_eq!(settings.tls, None);
        }
        let refused = read_from(&PEER[..1]).unwrap_err().to_string();
        assert!(refused.starts_with("CORE_CHAINCODE_ID_NAME is not set"), "{refused}");
    }

    #[test]
    fn key_material_is_read_from_pem_or_from_base64_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (root, plain, encoded) = (file("root", "roots"), file("plain", "pem"), file("encoded", "cGVt\n"));
        let tls = [("CORE_PEER_TLS_ENABLED", "true"), ("CORE_PEER_TLS_ROOTCERT_FILE", root.as_str())];
        let settings = read_from(&[&PEER[..], &tls].concat()).unwrap();
        assert_eq!(settings.tls, Some(DialTlsSettings { roots_pem: b"roots".to_vec(), identity: None }));
        for (kind, path) in [("FILE", &plain), ("PATH", &encoded)] {
            let (key, certificate) = (format!("CORE_TLS_CLIENT_KEY_{kind}"), format!("CORE_TLS_CLIENT_CERT_{kind}"));
            let identity = [(key.as_str(), path.as_str()), (certificate.as_str(), path.as_str())];
            let settings = read_from(&[&PEER[..], &tls, &identity].concat()).unwrap();
            assert_eq!(settings.tls.unwrap().identity, Some((b"pem".to_vec(), b"pem".to_vec())));
        }
        let wrong = [("CORE_TLS_CLIENT_KEY_PATH", root.as_str())];
        let refused = read_from(&[&PEER[..], &tls, &wrong].concat()).unwrap_err().to_string();
        assert!(refused.contains("CORE_TLS_CLIENT_KEY_PATH") && refused.contains("base64"), "{refused}");
    }
}
