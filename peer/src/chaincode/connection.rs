//! Where a contract server listens, as its package says it, and the dialing of it.
//!
//! It does not know what is said on the connection: that is `stream`.

use std::collections::BTreeMap;
use std::time::Duration;

use ripstop_channel::go_duration;
use serde::Deserialize;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Between two attempts within the dial timeout: the server may still be starting.
const DIAL_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Contract servers close a connection that is pinged more often than once a minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(90);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Flow control must not hold back a range page or a large value.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;

/// The environment variable that template text in packages is filled from: a JSON object.
const TEMPLATE_VALUES: &str = "CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG";

/// The values for template text that the operator of this peer set; none if he set none.
///
/// # Errors
/// When the variable holds no JSON object.
pub fn template_values_from_environment() -> Result<BTreeMap<String, String>, ConnectionError> {
    match std::env::var(TEMPLATE_VALUES) {
        Ok(text) if !text.is_empty() => template_values(&text),
        _ => Ok(BTreeMap::new()),
    }
}

fn template_values(text: &str) -> Result<BTreeMap<String, String>, ConnectionError> {
    let values: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|cause| ConnectionError::TemplateValues(cause.to_string()))?;
    let shown = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(values.into_iter().map(|(name, value)| (name, shown(value))).collect())
}

/// Why a contract server cannot be reached.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectionError {
    /// connection.json is not the document it should be.
    #[error("connection.json of the package: {0}")]
    Malformed(String),
    /// The operator's values are no JSON object.
    #[error("{TEMPLATE_VALUES} is no JSON object such as {{\"peername\": \"org1\"}}: {0}")]
    TemplateValues(String),
    /// Nobody answered in time.
    #[error("chaincode server at {address} did not accept a connection within {timeout:?}: {cause}")]
    Unreachable {
        /// Where it should listen.
        address: String,
        /// The dial timeout in force.
        timeout: Duration,
        /// The last failure.
        cause: String,
    },
}

/// connection.json as it stands in a package.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    address: String,
    #[serde(default)]
    dial_timeout: Option<DurationText>,
    #[serde(default)]
    tls_required: bool,
    #[serde(default)]
    client_auth_required: bool,
    #[serde(default)]
    client_key: String,
    #[serde(default)]
    client_cert: String,
    #[serde(default)]
    root_cert: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum DurationText {
    Nanoseconds(f64),
    Text(String),
}

/// A contract server's address and how to speak to it.
#[derive(Debug, Clone)]
pub struct ContractServer {
    address: String,
    dial_timeout: Duration,
    tls: Option<ClientTlsConfig>,
}

impl ContractServer {
    /// Reads a connection.json. Text like `{{.peername}}` in it is replaced from
    /// `template_values`, which the operator of this peer sets; `dial_timeout` is used
    /// where the document names none.
    ///
    /// # Errors
    /// When the document is malformed, names an unknown template value, or asks for TLS
    /// without the certificates for it.
    pub fn parse(
        document: &[u8],
        template_values: &BTreeMap<String, String>,
        dial_timeout: Duration,
    ) -> Result<Self, ConnectionError> {
        let malformed = |text: &str| ConnectionError::Malformed(text.to_owned());
        let document: Document =
            serde_json::from_slice(document).map_err(|cause| ConnectionError::Malformed(cause.to_string()))?;
        let fill = |text: &str| fill_template(text, template_values).map_err(ConnectionError::Malformed);
        let address = fill(&document.address)?;
        if address.is_empty() {
            return Err(malformed("chaincode address not provided"));
        }
        let asked = match &document.dial_timeout {
            None => Duration::ZERO,
            Some(DurationText::Nanoseconds(count)) => Duration::from_nanos(*count as u64),
            Some(DurationText::Text(text)) => {
                let text = fill(text)?;
                let error = || malformed(&format!("dial_timeout {text:?} is not a duration such as 10s or 500ms"));
                if text.is_empty() { Duration::ZERO } else { go_duration::parse(&text).ok_or_else(error)? }
            }
        };
        let dial_timeout = if asked.is_zero() { dial_timeout } else { asked };
        let tls = if document.tls_required { Some(tls_config(&document, &address, fill)?) } else { None };
        Ok(Self { address, dial_timeout, tls })
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connects, trying again until the dial timeout is over.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub async fn dial(&self) -> Result<Channel, ConnectionError> {
        let endpoint = self.endpoint()?;
        let deadline = tokio::time::Instant::now() + self.dial_timeout;
        let mut last = "timed out".to_owned();
        loop {
            match tokio::time::timeout_at(deadline, endpoint.connect()).await {
                Ok(Ok(channel)) => return Ok(channel),
                Ok(Err(cause)) => last = chain_of_causes(&cause),
                Err(_) => break,
            }
            if tokio::time::timeout_at(deadline, tokio::time::sleep(DIAL_AGAIN_AFTER)).await.is_err() {
                break;
            }
        }
        Err(ConnectionError::Unreachable { address: self.address.clone(), timeout: self.dial_timeout, cause: last })
    }

    fn endpoint(&self) -> Result<Endpoint, ConnectionError> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let malformed = |cause: tonic::transport::Error| {
            ConnectionError::Malformed(format!("address {:?}: {}", self.address, chain_of_causes(&cause)))
        };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.address))
            .map_err(malformed)?
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(STREAM_WINDOW_BYTES);
        match &self.tls {
            None => Ok(endpoint),
            Some(tls) => endpoint.tls_config(tls.clone()).map_err(malformed),
        }
    }
}

fn tls_config(
    document: &Document,
    address: &str,
    fill: impl Fn(&str) -> Result<String, ConnectionError>,
) -> Result<ClientTlsConfig, ConnectionError> {
    let required = |text: String, what: &str| {
        if text.is_empty() { Err(ConnectionError::Malformed(format!("{what} not provided"))) } else { Ok(text) }
    };
    let root = required(fill(&document.root_cert)?, "chaincode tls root cert")?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(root)).domain_name(host);
    if !document.client_auth_required {
        return Ok(tls);
    }
    let key = required(fill(&document.client_key)?, "chaincode tls key")?;
    let certificate = required(fill(&document.client_cert)?, "chaincode tls cert")?;
    Ok(tls.identity(Identity::from_pem(certificate, key)))
}

/// Replaces `{{.name}}`; every name must have a value.
fn fill_template(text: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or_else(|| format!("unclosed {{{{ in {text:?}"))?;
        let name = name.trim().strip_prefix('.').ok_or_else(|| format!("only {{{{.name}}}} is known, not {name:?}"))?;
        let value = values
            .get(name)
            .ok_or_else(|| format!("no value for {{{{.{name}}}}}: set it in the peer's {TEMPLATE_VALUES}"))?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// An error with everything that stands behind it; the outermost alone says little.
pub(crate) fn chain_of_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Duration = Duration::from_secs(3);

    fn parse(document: &str) -> Result<ContractServer, ConnectionError> {
        let values = template_values(r#"{"peername": "org1cc", "number": 1}"#).unwrap();
        ContractServer::parse(document.as_bytes(), &values, DEFAULT)
    }

    #[test]
    fn an_address_may_hold_template_text() {
        let server = parse(r#"{"address":"{{.peername}}:9999","dial_timeout":"1m30s"}"#).unwrap();
        assert_eq!(server.address(), "org1cc:9999");
        assert_eq!(server.dial_timeout, Duration::from_secs(90));
        assert_eq!(parse(r#"{"address":"cc{{ .number }}:1"}"#).unwrap().address(), "cc1:1");
        assert!(template_values("[]").unwrap_err().to_string().contains(TEMPLATE_VALUES));
        let refused = parse(r#"{"address":"{{.other}}:1"}"#).unwrap_err();
        assert!(refused.to_string().contains("{{.other}}"), "{refused}");
    }

    #[test]
    fn the_dial_timeout_is_text_or_nanoseconds_or_the_default() {
        assert_eq!(parse(r#"{"address":"a:1"}"#).unwrap().dial_timeout, DEFAULT);
        let nanoseconds = parse(r#"{"address":"a:1","dial_timeout":5000000000}"#).unwrap();
        assert_eq!(nanoseconds.dial_timeout, Duration::from_secs(5));
        assert!(parse(r#"{"address":"a:1","dial_timeout":"soon"}"#).is_err());
    }

    #[test]
    fn tls_without_its_certificates_is_refused() {
        for (document, missing) in [
            (r#"{}"#, "address"),
            (r#"{"address":"a:1","tls_required":true}"#, "root cert"),
            (r#"{"address":"a:1","tls_required":true,"root_cert":"x","client_auth_required":true}"#, "key"),
        ] {
            let refused = parse(document).unwrap_err();
            assert!(refused.to_string().contains(missing), "{refused}");
        }
    }
}
