//! `config.yaml` of an MSP folder: the small part of YAML that this one file needs, read strictly.
//!
//! ```text
//! NodeOUs:
//!   Enable: true
//!   ClientOUIdentifier:                       and Peer…, Admin…, Orderer…
//!     Certificate: cacerts/ca.pem
//!     OrganizationalUnitIdentifier: client
//! OrganizationalUnitIdentifiers:
//!   - Certificate: cacerts/ca.pem
//!     OrganizationalUnitIdentifier: engineering
//! ```
//! Block mappings and lists, plain and quoted scalars, and comments are understood; anchors, flow
//! collections, multi-line scalars and unknown keys are refused with their line. A YAML library for
//! these few lines would be the largest parser of the program, and would pass misspelt keys.

use crate::node_ous::Role;

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigYaml {
    pub(crate) node_ous_enabled: bool,
    /// By [`Role::index`].
    pub(crate) node_ous: [Identifier; 4],
    pub(crate) organizational_unit_identifiers: Vec<Identifier>,
}

/// One unit.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Identifier {
    /// A path relative to the MSP folder; empty for none.
    pub(crate) certificate: String,
    pub(crate) organizational_unit_identifier: String,
}

/// The line, from 1, and what is wrong with it.
pub(crate) type Problem = (usize, String);

struct Line<'a> {
    number: usize,
    indent: usize,
    starts_item: bool,
    key: &'a str,
    value: String,
}

pub(crate) fn parse(text: &str) -> Result<ConfigYaml, Problem> {
    let mut config = ConfigYaml::default();
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut seen: Vec<Vec<String>> = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let Some(line) = read_line(index + 1, raw)? else { continue };
        open.retain(|(indent, _)| *indent < line.indent);
        let mut path: Vec<String> = open.iter().map(|(_, key)| key.clone()).collect();
        if line.starts_item {
            config.organizational_unit_identifiers.push(Identifier::default());
        }
        if path.first().is_some_and(|first| first == LIST) {
            path.push(config.organizational_unit_identifiers.len().to_string());
        }
        path.push(line.key.to_owned());
        if seen.contains(&path) {
            return Err((line.number, format!("{} is given twice", line.key)));
        }
        set(&mut config, &path, &line)?;
        seen.push(path);
        if line.value.is_empty() {
            open.push((line.indent, line.key.to_owned()));
        }
    }
    Ok(config)
}

const LIST: &str = "OrganizationalUnitIdentifiers";

fn set(config: &mut ConfigYaml, path: &[String], line: &Line<'_>) -> Result<(), Problem> {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    match names.as_slice() {
        ["NodeOUs"] | [LIST] if line.value.is_empty() && !line.starts_item => Ok(()),
        ["NodeOUs", "Enable"] => {
            config.node_ous_enabled = boolean(line)?;
            Ok(())
        }
        ["NodeOUs", unit] if role(unit).is_some() && line.value.is_empty() => Ok(()),
        ["NodeOUs", unit, field] => {
            let role = role(unit).ok_or_else(|| unknown(line))?;
            set_field(&mut config.node_ous[role.index()], field, line)
        }
        [LIST, _, field] => {
            let item = config.organizational_unit_identifiers.last_mut();
            set_field(item.ok_or((line.number, "expected '- '".to_owned()))?, field, line)
        }
        _ => Err(unknown(line)),
    }
}

fn set_field(identifier: &mut Identifier, field: &str, line: &Line<'_>) -> Result<(), Problem> {
    match field {
        "Certificate" => identifier.certificate = line.value.clone(),
        "OrganizationalUnitIdentifier" => {
            identifier.organizational_unit_identifier = line.value.clone();
        }
        _ => return Err(unknown(line)),
    }
    Ok(())
}

fn role(unit: &str) -> Option<Role> {
    match unit {
        "ClientOUIdentifier" => Some(Role::Client),
        "PeerOUIdentifier" => Some(Role::Peer),
        "AdminOUIdentifier" => Some(Role::Admin),
        "OrdererOUIdentifier" => Some(Role::Orderer),
        _ => None,
    }
}

fn unknown(line: &Line<'_>) -> Problem {
    let text = format!(
        "'{}' is not expected here; the file has NodeOUs {{ Enable, ClientOUIdentifier, PeerOUIdentifier, AdminOUIdentifier, OrdererOUIdentifier }} and {LIST}, each unit with Certificate and OrganizationalUnitIdentifier",
        line.key
    );
    (line.number, text)
}

fn boolean(line: &Line<'_>) -> Result<bool, Problem> {
    match line.value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err((line.number, format!("Enable is true or false, not '{other}'"))),
    }
}

/// `None` for blank lines, comments and document marks.
fn read_line(number: usize, raw: &str) -> Result<Option<Line<'_>>, Problem> {
    let text = raw.trim_end();
    let mut body = text.trim_start_matches(' ');
    let mut indent = text.len() - body.len();
    if body.is_empty() || body.starts_with('#') || text == "---" {
        return Ok(None);
    }
    let starts_item = body.starts_with("- ");
    if starts_item {
        let after = body[2..].trim_start_matches(' ');
        indent += body.len() - after.len();
        body = after;
    }
    let (key, rest) = body
        .split_once(':')
        .filter(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric()) && !key.is_empty())
        .ok_or_else(|| (number, format!("expected 'Key: value', found '{body}'")))?;
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err((number, format!("a blank is missing after '{key}:'")));
    }
    let value = scalar(rest.trim_start()).map_err(|problem| (number, problem))?;
    Ok(Some(Line { number, indent, starts_item, key, value }))
}

fn scalar(text: &str) -> Result<String, String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    let Some(quote) = quote else {
        return plain(text.split(" #").next().unwrap_or_default().trim_end());
    };
    let (value, after) = text[1..].split_once(quote).ok_or_else(|| format!("the quote in {text} has no end"))?;
    let after = after.trim_start();
    if value.contains('\\') || !(after.is_empty() || after.starts_with('#')) {
        return Err(format!("only simple quoted values are supported, not {text}"));
    }
    Ok(value.to_owned())
}

fn plain(text: &str) -> Result<String, String> {
    if text.starts_with('#') {
        return Ok(String::new());
    }
    if text.starts_with(['{', '[', '&', '*', '!', '|', '>', '%', '@', '`']) {
        return Err(format!("only simple values are supported, not {text}"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRYPTOGEN: &str = "NodeOUs:\n  Enable: true\n  ClientOUIdentifier:\n    Certificate: cacerts/ca.pem\n    OrganizationalUnitIdentifier: client\n  PeerOUIdentifier:\n    Certificate: \"cacerts/ca.pem\" # comment\n    OrganizationalUnitIdentifier: 'peer'\n";

    #[test]
    fn the_file_that_cryptogen_writes_is_read() {
        let config = parse(CRYPTOGEN).unwrap();
        assert!(config.node_ous_enabled);
        let unit = |certificate: &str, name: &str| Identifier {
            certificate: certificate.into(),
            organizational_unit_identifier: name.into(),
        };
        assert_eq!(config.node_ous[Role::Client.index()], unit("cacerts/ca.pem", "client"));
        assert_eq!(config.node_ous[Role::Peer.index()], unit("cacerts/ca.pem", "peer"));
        assert_eq!(config.node_ous[Role::Admin.index()], Identifier::default());
    }

    #[test]
    fn lists_are_read_with_and_without_indentation() {
        for indent in ["", "  "] {
            let text = format!(
                "# units\nOrganizationalUnitIdentifiers:\n{indent}- Certificate: a.pem\n{indent}  OrganizationalUnitIdentifier: one\n{indent}- Certificate: b.pem\n{indent}  OrganizationalUnitIdentifier: two\nNodeOUs:\n  Enable: false\n"
            );
            let config = parse(&text).unwrap();
            let names: Vec<&str> = config
                .organizational_unit_identifiers
                .iter()
                .map(|unit| unit.organizational_unit_identifier.as_str())
                .collect();
            assert_eq!(names, ["one", "two"]);
            assert_eq!(config.organizational_unit_identifiers[1].certificate, "b.pem");
            assert!(!config.node_ous_enabled);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        let line = |text: &str| parse(text).unwrap_err().0;
        assert_eq!(line("NodeOU:\n  Enable: true\n"), 1);
        assert_eq!(line("NodeOUs:\n  Enabled: true\n"), 2);
        assert_eq!(line("NodeOUs:\n  Enable: perhaps\n"), 2);
        assert_eq!(line("NodeOUs: {Enable: true}\n"), 1);
        assert_eq!(line("NodeOUs:\n  Enable: true\n  Enable: true\n"), 3);
        assert_eq!(line("NodeOUs:\n\tEnable: true\n"), 2);
        assert_eq!(line("just words\n"), 1);
        assert_eq!(line("NodeOUs:\n  ClientOUIdentifier:\n    Certificate: &x y\n"), 3);
    }
}
