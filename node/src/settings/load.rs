//! From a file and the environment to a settings struct, with errors that name the place.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, Deserializer};

use super::Paths;
use super::overrides::Overrides;

/// Why the settings cannot be used. Every message names the file or the variable, the
/// line where there is one, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {cause}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: std::io::Error,
    },
    /// The file is no TOML, or a key is unknown, missing or of another type.
    #[error("{path}{place}: {message}{suggestion}", path = path.display(), place = at(*line, key.as_deref()))]
    File {
        /// The file.
        path: PathBuf,
        /// Line from 1, where it is known.
        line: Option<usize>,
        /// The key in that line, where there is one.
        key: Option<String>,
        /// What is wrong.
        message: String,
        /// `"; did you mean …?"`, or empty.
        suggestion: String,
    },
    /// A value from the environment does not fit.
    #[error("environment variable {variable}: {message}{suggestion}")]
    Environment {
        /// The variable's name.
        variable: String,
        /// What is wrong.
        message: String,
        /// `"; did you mean …?"`, or empty.
        suggestion: String,
    },
}

fn at(line: Option<usize>, key: Option<&str>) -> String {
    match (line, key) {
        (Some(line), Some(key)) => format!(":{line}, key `{key}`"),
        (Some(line), None) => format!(":{line}"),
        (None, _) => String::new(),
    }
}

/// Reads `path` and applies the process's environment variables that begin with
/// `env_prefix` and `_`. Relative paths are relative to the file's folder.
///
/// A variable names table and key in upper case, joined by `_`: with the prefix
/// `RIPSTOP_PEER`, `RIPSTOP_PEER_NODE_LISTEN` is the key `listen` of `[node]` and
/// `RIPSTOP_PEER_NODE_DATA_FOLDER` its key `data-folder`. A nested table is entered when
/// the file has it, or when the name says so with two underscores
/// (`RIPSTOP_PEER_NODE__TLS__KEY`). The value is TOML where it parses as TOML (`true`,
/// `7`, `["a", "b"]`), else text.
///
/// # Errors
/// Names the file and line, or the variable.
pub fn load<T: DeserializeOwned + Paths>(path: &Path, env_prefix: &str) -> Result<T, SettingsError> {
    let text =
        std::fs::read_to_string(path).map_err(|cause| SettingsError::Unreadable { path: path.to_owned(), cause })?;
    let mut settings: T = parse(path, &text, env_prefix, std::env::vars())?;
    settings.resolve_paths(path.parent().unwrap_or(Path::new("")));
    Ok(settings)
}

/// [`load`] with the text and the environment as arguments, and paths as they are written;
/// `path` is for messages.
///
/// # Errors
/// As [`load`].
pub fn parse<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    env_prefix: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, SettingsError> {
    let mut overrides = Overrides::new(env_prefix, environment, text.len());
    let root = DeTable::parse(text).map_err(|error| explain(path, text, &overrides, &error))?;
    let attempt = |overrides: &Overrides| {
        let mut root = root.clone();
        overrides.apply(root.get_mut());
        T::deserialize(Deserializer::from(root))
    };
    let first = match attempt(&overrides) {
        Ok(settings) => return Ok(settings),
        Err(error) => error,
    };
    // A text like `123` for a text key was taken for a number: once more, as text.
    let mut last = first;
    while let Some(index) = last.span().and_then(|span| overrides.index_at(&span)) {
        if !overrides.take_as_text(index) {
            break;
        }
        match attempt(&overrides) {
            Ok(settings) => return Ok(settings),
            Err(error) => last = error,
        }
    }
    Err(explain(path, text, &overrides, &last))
}

fn explain(path: &Path, text: &str, overrides: &Overrides, error: &toml::de::Error) -> SettingsError {
    let message = error.message().trim().replace('\n', "; ");
    let suggestion = suggestion(&message);
    if let Some(index) = error.span().and_then(|span| overrides.index_at(&span)) {
        let variable = overrides.name(index).to_owned();
        return SettingsError::Environment { variable, message, suggestion };
    }
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| before.matches('\n').count() + 1);
    let key = line.and_then(|line| key_in(text.lines().nth(line - 1)?));
    SettingsError::File { path: path.to_owned(), line, key, message, suggestion }
}

fn key_in(line: &str) -> Option<String> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    (!key.is_empty() && !key.starts_with('#')).then(|| key.to_owned())
}

/// `unknown field` messages of serde name the field and the ones it expects, each between
/// backticks: the nearest of them is suggested.
fn suggestion(message: &str) -> String {
    if !message.starts_with("unknown field") {
        return String::new();
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else { return String::new() };
    let nearest = quoted
        .map(|expected| (strsim::damerau_levenshtein(unknown, expected), expected))
        .filter(|(distance, expected)| *distance <= expected.len().max(unknown.len()) / 2)
        .min();
    nearest.map_or_else(String::new, |(_, expected)| format!("; did you mean `{expected}`?"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::settings::{NodeSettings, Paths};

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Program {
        node: NodeSettings,
        #[serde(default)]
        orderer: Own,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
    struct Own {
        cutting: String,
        batch_count: u32,
        strict: bool,
    }

    const FILE: &str = r#"
[node]
name = "peer0.org1.example.com"
msp-id = "Org1MSP"
msp-folder = "msp"
data-folder = "/var/ripstop"
listen = "127.0.0.1:7051"
advertise = "peer0.org1.example.com:7051"
operations-listen = "127.0.0.1:9444"

[node.tls]
certificate = "tls/server.crt"
key = "tls/server.key"

[node.dial]
"orderer.example.com:7050" = "127.0.0.1:7050"
"#;

    fn read(text: &str, environment: &[(&str, &str)]) -> Result<Program, SettingsError> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse(Path::new("peer.toml"), text, "RIPSTOP_PEER", environment)
    }

    #[test]
    fn a_whole_file_is_read() {
        let mut node = read(FILE, &[]).unwrap().node;
        assert_eq!(node.listen, "127.0.0.1:7051".parse().unwrap());
        assert_eq!(node.operations_listen, Some("127.0.0.1:9444".parse().unwrap()));
        assert_eq!(node.dial, BTreeMap::from([("orderer.example.com:7050".to_owned(), "127.0.0.1:7050".to_owned())]));
        assert!(!node.tls.client_auth_required);
        node.resolve_paths(Path::new("/etc/ripstop"));
        assert_eq!(node.msp_folder, Path::new("/etc/ripstop/msp"));
        assert_eq!(node.data_folder, Path::new("/var/ripstop"));
        assert_eq!(node.tls.key, Path::new("/etc/ripstop/tls/server.key"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_suggestion() {
        let text = FILE.replace("advertise =", "advertize =");
        let error = read(&text, &[]).unwrap_err().to_string();
        assert!(error.starts_with("peer.toml:8, key `advertize`: unknown field `advertize`"), "{error}");
        assert!(error.ends_with("did you mean `advertise`?"), "{error}");
    }

    #[test]
    fn an_unknown_table_is_refused_with_a_suggestion() {
        let error = read(&format!("{FILE}\n[orderrer]\ncutting = \"adaptive\"\n"), &[]).unwrap_err().to_string();
        assert!(error.contains("peer.toml:18"), "{error}");
        assert!(error.ends_with("did you mean `orderer`?"), "{error}");
    }

    #[test]
    fn a_key_unlike_all_others_gets_no_suggestion() {
        let error = read(&FILE.replace("advertise =", "zzz ="), &[]).unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn a_missing_key_is_named() {
        let error = read(&FILE.replace("msp-id = \"Org1MSP\"\n", ""), &[]).unwrap_err().to_string();
        assert!(error.contains("missing field `msp-id`"), "{error}");
        assert!(error.starts_with("peer.toml"), "{error}");
    }

    #[test]
    fn a_value_of_another_type_names_its_line_and_key() {
        let error = read(&FILE.replace("\"127.0.0.1:7051\"", "\"nowhere\""), &[]).unwrap_err().to_string();
        assert!(error.starts_with("peer.toml:7, key `listen`: invalid socket address"), "{error}");
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = read(&FILE.replace("name = ", "name "), &[]).unwrap_err().to_string();
        assert!(error.starts_with("peer.toml:3"), "{error}");
    }

    #[test]
    fn the_environment_overrides_a_key_of_the_file() {
        let settings =
            read(FILE, &[("RIPSTOP_PEER_NODE_LISTEN", "0.0.0.0:1"), ("RIPSTOP_PEER_NODE_DATA_FOLDER", "/d")]);
        let node = settings.unwrap().node;
        assert_eq!(node.listen, "0.0.0.0:1".parse().unwrap());
        assert_eq!(node.data_folder, Path::new("/d"));
    }

    #[test]
    fn the_environment_reaches_tables_within_tables() {
        let node = read(FILE, &[("RIPSTOP_PEER_NODE_TLS_CLIENT_AUTH_REQUIRED", "true")]).unwrap().node;
        assert!(node.tls.client_auth_required);
        let without_table =
            FILE.replace("[node.tls]\ncertificate = \"tls/server.crt\"\nkey = \"tls/server.key\"\n", "");
        let named = [("RIPSTOP_PEER_NODE__TLS__KEY", "k"), ("RIPSTOP_PEER_NODE__TLS__CERTIFICATE", "c")];
        assert_eq!(read(&without_table, &named).unwrap().node.tls.key, Path::new("k"));
    }

    #[test]
    fn the_environment_can_make_a_table_that_the_file_lacks() {
        let set = [("RIPSTOP_PEER_ORDERER_CUTTING", "timeout"), ("RIPSTOP_PEER_ORDERER_BATCH_COUNT", "7")];
        let own = read(FILE, &set).unwrap().orderer;
        assert_eq!(own, Own { cutting: "timeout".into(), batch_count: 7, strict: false });
    }

    #[test]
    fn a_number_in_the_environment_is_text_where_text_is_expected() {
        let own = read(FILE, &[("RIPSTOP_PEER_ORDERER_CUTTING", "500")]).unwrap().orderer;
        assert_eq!(own.cutting, "500");
    }

    #[test]
    fn a_table_of_the_environment_is_toml() {
        let node = read(FILE, &[("RIPSTOP_PEER_NODE_DIAL", r#"{ "a:1" = "b:2" }"#)]).unwrap().node;
        assert_eq!(node.dial, BTreeMap::from([("a:1".to_owned(), "b:2".to_owned())]));
    }

    #[test]
    fn a_wrong_value_of_the_environment_names_the_variable() {
        let error = read(FILE, &[("RIPSTOP_PEER_NODE_LISTEN", "here")]).unwrap_err().to_string();
        assert!(error.starts_with("environment variable RIPSTOP_PEER_NODE_LISTEN: invalid socket address"), "{error}");
    }

    #[test]
    fn an_unknown_key_of_the_environment_names_the_variable() {
        let error = read(FILE, &[("RIPSTOP_PEER_NODE_LISTN", "127.0.0.1:1")]).unwrap_err().to_string();
        assert!(error.starts_with("environment variable RIPSTOP_PEER_NODE_LISTN: unknown field"), "{error}");
        assert!(error.ends_with("did you mean `listen`?"), "{error}");
    }

    #[test]
    fn variables_of_other_programs_are_left_alone() {
        assert!(read(FILE, &[("RIPSTOP_ORDERER_NODE_LISTN", "x"), ("RIPSTOP_PEERAGE", "x")]).is_ok());
    }
}
