//! What somebody means who types the name of a node, a contract or a peer.

use anyhow::bail;

/// The one of `known` that `text` means: the same name, or its beginning up to a dot
/// (`peer0.org1` for `peer0.org1.example.com`).
///
/// # Errors
/// Lists the names there are.
pub(crate) fn resolve<'a>(what: &str, text: &str, known: &[&'a str]) -> anyhow::Result<&'a str> {
    if let Some(name) = known.iter().find(|name| **name == text) {
        return Ok(name);
    }
    let begins = |name: &&&str| name.strip_prefix(text).is_some_and(|rest| rest.starts_with('.'));
    let meant: Vec<&&str> = known.iter().filter(begins).collect();
    match meant[..] {
        [name] => Ok(name),
        [] => bail!("there is no {what} {text}; there are {}", known.join(", ")),
        _ => bail!("{text} can mean {}", meant.into_iter().copied().collect::<Vec<_>>().join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["orderer.example.com", "orderer2.example.com", "peer0.org1.example.com", "basic"];

    #[test]
    fn a_name_goes_by_its_beginning_up_to_a_dot() {
        assert_eq!(resolve("node", "orderer", &KNOWN).unwrap(), "orderer.example.com");
        assert_eq!(resolve("node", "peer0.org1", &KNOWN).unwrap(), "peer0.org1.example.com");
        assert_eq!(resolve("node", "basic", &KNOWN).unwrap(), "basic");
    }

    #[test]
    fn an_unknown_or_ambiguous_name_is_answered_with_the_known_ones() {
        let unknown = resolve("node", "peer9", &KNOWN).unwrap_err().to_string();
        assert_eq!(unknown, format!("there is no node peer9; there are {}", KNOWN.join(", ")));
        let two = ["peer0.org1.example.com", "peer0.org2.example.com"];
        let ambiguous = resolve("peer", "peer0", &two).unwrap_err().to_string();
        assert_eq!(ambiguous, "peer0 can mean peer0.org1.example.com or peer0.org2.example.com");
    }
}
