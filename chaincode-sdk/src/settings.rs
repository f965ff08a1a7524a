//! Where a contract's service listens, and as which package it registers.
//!
//! Read from the variables that Fabric's samples for chaincode as a service use.

use std::path::PathBuf;

/// Settings of a [`crate::Server`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// "host:port" to listen on; port 0 takes a free one.
    pub address: String,
    /// The id of the installed package, `label:hash`. A peer drops a service that
    /// registers with another one.
    pub package_id: String,
    /// `None`: plain HTTP/2, as a `connection.json` with `"tls_required": false` says.
    pub tls: Option<TlsSettings>,
}

/// Key material in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The service's certificate, with its chain if it has one.
    pub certificate_pem: Vec<u8>,
    /// The certificate's private key.
    pub key_pem: Vec<u8>,
    /// When given, only peers with a certificate issued by one of these may connect.
    pub client_roots_pem: Option<Vec<u8>>,
}

impl std::fmt::Debug for TlsSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let client_roots = self.client_roots_pem.is_some();
        formatter.debug_struct("TlsSettings").field("client_roots", &client_roots).finish_non_exhaustive()
    }
}

/// What is wrong with the environment of a contract's program.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Neither of these variables is set.
    #[error("{0} is not set; {1}")]
    Missing(&'static str, &'static str),
    /// A file of key material.
    #[error("{variable} names {path}, which cannot be read: {cause}", path = path.display())]
    File {
        /// The variable that names it.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
}

impl ServerSettings {
    /// Reads the process environment.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `CHAINCODE_SERVER_ADDRESS` | host:port to listen on |
    /// | `CHAINCODE_ID`, or `CORE_CHAINCODE_ID_NAME` | the package id |
    /// | `CHAINCODE_TLS_DISABLED` | `true` (the default) or `false` |
    /// | `CHAINCODE_TLS_KEY`, `CHAINCODE_TLS_CERT` | files with the PEM of key and certificate |
    /// | `CHAINCODE_CLIENT_CA_CERT` | optional file: only peers with a certificate from it |
    ///
    /// # Errors
    /// Names the variable that is missing, or the file that cannot be read.
    pub fn from_environment() -> Result<Self, SettingsError> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// Like [`ServerSettings::from_environment`], with variables from elsewhere.
    ///
    /// # Errors
    /// As [`ServerSettings::from_environment`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let address = variable("CHAINCODE_SERVER_ADDRESS").ok_or(SettingsError::Missing(
            "CHAINCODE_SERVER_ADDRESS",
            "set it to the host:port that connection.json in the chaincode package names",
        ))?;
        let package_id =
            variable("CHAINCODE_ID").or_else(|| variable("CORE_CHAINCODE_ID_NAME")).ok_or(SettingsError::Missing(
                "CHAINCODE_ID (or CORE_CHAINCODE_ID_NAME)",
                "set it to the package id that installing the package printed",
            ))?;
        let tls_disabled = variable("CHAINCODE_TLS_DISABLED").is_none_or(|value| is_true(&value));
        let tls = if tls_disabled { None } else { Some(TlsSettings::from_variables(&variable)?) };
        Ok(Self { address, package_id, tls })
    }
}

impl TlsSettings {
    fn from_variables(variable: &impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let required = |name: &'static str| {
            let path = variable(name)
                .ok_or(SettingsError::Missing(name, "with CHAINCODE_TLS_DISABLED=false it names a PEM file"))?;
            read(name, path)
        };
        let client_roots = variable("CHAINCODE_CLIENT_CA_CERT").map(|path| read("CHAINCODE_CLIENT_CA_CERT", path));
        Ok(Self {
            certificate_pem: required("CHAINCODE_TLS_CERT")?,
            key_pem: required("CHAINCODE_TLS_KEY")?,
            client_roots_pem: client_roots.transpose()?,
        })
    }
}

fn read(variable: &'static str, path: String) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(&path).map_err(|cause| SettingsError::File { variable, path: path.into(), cause })
}

/// Go's `strconv.ParseBool`, which the samples use; whatever it does not know is false.
pub(crate) fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(variables: &[(&str, &str)]) -> Result<ServerSettings, SettingsError> {
        ServerSettings::from_variables(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_address_and_either_name_of_the_package_id_are_enough() {
        for name in ["CHAINCODE_ID", "CORE_CHAINCODE_ID_NAME"] {
            let settings = read_from(&[("CHAINCODE_SERVER_ADDRESS", "0.0.0.0:9999"), (name, "basic:ab")]).unwrap();
            assert_eq!(settings.address, "0.0.0.0:9999");
            assert_eq!(settings.package_id, "basic:ab");
            assert_eq!(settings.tls, None);
        }
    }

    #[test]
    fn a_missing_variable_is_named() {
        let refused = read_from(&[("CHAINCODE_ID", "basic:ab")]).unwrap_err().to_string();
        assert!(refused.starts_with("CHAINCODE_SERVER_ADDRESS is not set"), "{refused}");
        let refused = read_from(&[("CHAINCODE_SERVER_ADDRESS", "h:1")]).unwrap_err().to_string();
        assert!(refused.starts_with("CHAINCODE_ID (or CORE_CHAINCODE_ID_NAME) is not set"), "{refused}");
    }

    #[test]
    fn tls_needs_files_that_can_be_read() {
        let common = [("CHAINCODE_SERVER_ADDRESS", "h:1"), ("CHAINCODE_ID", "i"), ("CHAINCODE_TLS_DISABLED", "false")];
        let refused = read_from(&common).unwrap_err().to_string();
        assert!(refused.starts_with("CHAINCODE_TLS_CERT is not set"), "{refused}");
        let with_file = [&common[..], &[("CHAINCODE_TLS_CERT", "/no/such/file")]].concat();
        let refused = read_from(&with_file).unwrap_err().to_string();
        assert!(refused.starts_with("CHAINCODE_TLS_CERT names /no/such/file"), "{refused}");
    }
}
