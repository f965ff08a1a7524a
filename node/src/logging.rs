//! Logs: `tracing` events to stderr, with a filter that can be changed while running.
//!
//! The filter is written in Fabric's grammar, `logger[,logger]=level:…:level`. A logger is
//! a room with modules after dots: `peer.gateway` is the Rust module
//! `ripstop_peer::gateway`; names of other crates are taken as they are (`h2`, `raft`).
//!
//! What others can provoke as often as they like is warned of through [`Seldom`].

mod entries;
mod seldom;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

pub use seldom::Seldom;

/// The environment variable that [`init`] reads the filter from.
pub const SPEC_VARIABLE: &str = "RIPSTOP_LOG";
/// The filter when nothing else is said. (Raft and HTTP/2 report each message at debug.)
pub const SPEC_DEFAULT: &str = "info";

const ROOMS: [&str; 12] = [
    "proto",
    "msp",
    "channel",
    "node",
    "trie",
    "ledger",
    "orderer",
    "peer",
    "client",
    "chaincode_sdk",
    "load",
    "network",
];

static SPEC: OnceLock<LogSpec> = OnceLock::new();

/// Why a filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The level is none of Fabric's.
    #[error("invalid log level '{0}'; levels are fatal, panic, error, warning, info and debug")]
    Level(String),
    /// More than one default level, or an empty logger name.
    #[error(
        "invalid logging specification '{0}'; write logger[,logger]=level:…:level, for instance 'peer.gateway,ledger=debug:info'"
    )]
    Form(String),
    /// The filter cannot be replaced because the process ends or uses other logging.
    #[error("the log filter cannot be changed: {0}")]
    Fixed(String),
}

/// The process's log filter; clones change the same filter.
#[derive(Clone)]
pub struct LogSpec {
    spec: Arc<Mutex<String>>,
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogSpec {
    /// The filter in force.
    pub fn get(&self) -> String {
        self.spec.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the filter at once.
    ///
    /// # Errors
    /// Says what is wrong with `spec`; the old filter stays.
    pub fn set(&self, spec: &str) -> Result<(), SpecError> {
        let filter = filter(spec)?;
        self.filter.reload(filter).map_err(|error| SpecError::Fixed(error.to_string()))?;
        spec.clone_into(&mut self.spec.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

/// Sends the process's logs to stderr, filtered by the variable `RIPSTOP_LOG` or else by
/// [`SPEC_DEFAULT`]. Called again, it changes nothing and gives the same handle.
pub fn init() -> LogSpec {
    SPEC.get_or_init(|| {
        let wanted = std::env::var(SPEC_VARIABLE).unwrap_or_else(|_| SPEC_DEFAULT.to_owned());
        let (spec, first, refused) = match filter(&wanted) {
            Ok(first) => (wanted, first, None),
            Err(error) => (SPEC_DEFAULT.to_owned(), EnvFilter::new(SPEC_DEFAULT), Some(error)),
        };
        let (layer, handle) = reload::Layer::new(first);
        let lines =
            fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
        if let Err(error) = tracing_subscriber::registry().with(layer).with(lines).with(entries::Entries).try_init() {
            tracing::debug!(%error, "this process has its own logging; the node's is left out");
        }
        if let Some(error) = refused {
            tracing::warn!(%error, "{SPEC_VARIABLE} is refused; logging at '{SPEC_DEFAULT}'");
        }
        LogSpec { spec: Arc::new(Mutex::new(spec)), filter: handle }
    })
    .clone()
}

fn filter(spec: &str) -> Result<EnvFilter, SpecError> {
    let directives = directives(spec)?;
    EnvFilter::try_new(&directives).map_err(|_| SpecError::Form(spec.to_owned()))
}

/// Fabric's grammar to the one of `tracing_subscriber`.
fn directives(spec: &str) -> Result<String, SpecError> {
    let mut default = None;
    let mut directives = Vec::new();
    for field in spec.split(':') {
        match field.split_once('=') {
            None => {
                if default.replace(level(field)?).is_some() {
                    return Err(SpecError::Form(spec.to_owned()));
                }
            }
            Some((loggers, name)) => {
                let level = level(name)?;
                for logger in loggers.split(',') {
                    let target = target(logger).ok_or_else(|| SpecError::Form(spec.to_owned()))?;
                    directives.push(format!("{target}={level}"));
                }
            }
        }
    }
    directives.insert(0, default.unwrap_or(SPEC_DEFAULT).to_owned());
    Ok(directives.join(","))
}

fn level(name: &str) -> Result<&'static str, SpecError> {
    match name.trim().to_ascii_lowercase().as_str() {
        "fatal" | "panic" | "dpanic" | "error" => Ok("error"),
        "warn" | "warning" => Ok("warn"),
        "info" | "notice" => Ok("info"),
        "debug" => Ok("debug"),
        "trace" => Ok("trace"),
        _ => Err(SpecError::Level(name.to_owned())),
    }
}

fn target(logger: &str) -> Option<String> {
    let logger = logger.trim().replace('-', "_");
    let plain = logger.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    if logger.is_empty() || !plain {
        return None;
    }
    let room = logger.split('.').next().unwrap_or(&logger);
    let prefix = if ROOMS.contains(&room) { "ripstop_" } else { "" };
    Some(format!("{prefix}{}", logger.replace('.', "::")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_the_default() {
        assert_eq!(directives("WARNING").unwrap(), "warn");
    }

    #[test]
    fn loggers_are_rooms_and_modules() {
        let spec = "peer.gateway,chaincode-sdk=debug:h2=error:warn";
        assert_eq!(directives(spec).unwrap(), "warn,ripstop_peer::gateway=debug,ripstop_chaincode_sdk=debug,h2=error");
    }

    #[test]
    fn a_wrong_specification_is_refused_with_its_reason() {
        assert_eq!(directives("loud"), Err(SpecError::Level("loud".into())));
        assert_eq!(directives("info:debug"), Err(SpecError::Form("info:debug".into())));
        assert_eq!(directives("=debug"), Err(SpecError::Form("=debug".into())));
        assert_eq!(directives("a b=debug"), Err(SpecError::Form("a b=debug".into())));
        assert_eq!(directives(""), Err(SpecError::Level(String::new())));
    }

    #[test]
    fn a_filter_is_replaced_and_a_refused_one_changes_nothing() {
        let spec = init();
        spec.set("ledger=debug:error").unwrap();
        assert_eq!(spec.get(), "ledger=debug:error");
        assert!(spec.set("shout").is_err());
        assert_eq!(init().get(), "ledger=debug:error");
    }
}
