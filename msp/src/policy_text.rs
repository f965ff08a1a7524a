//! The language of `--signature-policy`: `AND(..)`, `OR(..)`, `OutOf(n, ..)` over `'MSPID.role'`.
//!
//! ```text
//! gate      = name "(" argument { "," argument } ")"      name: AND And and, OR Or or, OutOf OUTOF outof
//! argument  = gate | quoted principal                     OutOf's first argument is a number
//! principal = MSP id (letters, digits, "." and "-") "." role
//! ```
//! The result is byte-equal to what Fabric's own parser makes, so that organizations that approve a
//! definition with different tools agree: principals are numbered inner gates first, and are not
//! de-duplicated.

use bytes::Bytes;
use prost::Message as _;
use ripstop_proto::common::msp_principal::Classification;
use ripstop_proto::common::msp_role::MspRoleType;
use ripstop_proto::common::signature_policy::{NOutOf, Type};
use ripstop_proto::common::{MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope};

/// Each level is two nested messages; decoders allow 100.
const DEPTH_MAX: usize = 40;

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy text, at character {position}: {problem}. Example: AND('Org1MSP.peer','Org2MSP.peer')")]
pub struct TextError {
    /// Where, from 0, in bytes.
    pub position: usize,
    /// What was expected.
    pub problem: String,
}

/// Parses a policy's text.
///
/// ```
/// let policy = ripstop_msp::policy_text::parse("OR('Org1MSP.peer','Org2MSP.peer')").unwrap();
/// assert_eq!(policy.identities.len(), 2);
/// ```
pub fn parse(text: &str) -> Result<SignaturePolicyEnvelope, TextError> {
    let mut parser = Parser { text, position: 0, principals: Vec::new() };
    let rule = parser.gate(0)?;
    parser.skip_blanks();
    if parser.position < text.len() {
        return Err(parser.problem("the policy ends here; remove the rest"));
    }
    Ok(SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities: parser.principals })
}

/// The principal for everyone with `role` in an MSP.
pub fn role_principal(msp_id: &str, role: MspRoleType) -> MspPrincipal {
    let role = MspRole { msp_identifier: msp_id.to_owned(), role: role.into() };
    MspPrincipal { principal_classification: Classification::Role.into(), principal: Bytes::from(role.encode_to_vec()) }
}

/// The rule satisfied by a signature for one principal.
pub fn signed_by(principal: i32) -> SignaturePolicy {
    SignaturePolicy { r#type: Some(Type::SignedBy(principal)) }
}

/// The rule satisfied by `n` of the given rules.
pub fn n_out_of(n: i32, rules: Vec<SignaturePolicy>) -> SignaturePolicy {
    SignaturePolicy { r#type: Some(Type::NOutOf(NOutOf { n, rules })) }
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    principals: Vec<MspPrincipal>,
}

/// A principal is numbered only when the gate around it closes.
enum Argument {
    Rule(SignaturePolicy),
    Principal(MspPrincipal),
}

#[derive(Clone, Copy)]
enum Gate {
    And,
    Or,
    OutOf,
}

impl Parser<'_> {
    fn gate(&mut self, depth: usize) -> Result<SignaturePolicy, TextError> {
        if depth >= DEPTH_MAX {
            return Err(self.problem(&format!("gates are nested more than {DEPTH_MAX} deep")));
        }
        let gate = self.gate_name()?;
        self.expect('(')?;
        let needed = match gate {
            Gate::OutOf => Some(self.number()?),
            Gate::And | Gate::Or => None,
        };
        let arguments = self.arguments(depth, needed.is_some())?;
        let count = arguments.len();
        let needed = match (gate, needed) {
            (Gate::OutOf, Some(needed)) => needed,
            (Gate::And, _) => count,
            _ => 1,
        };
        if needed > count + 1 {
            let text = format!("{needed} out of {count} can never be met");
            return Err(self.problem(&text));
        }
        let rules = arguments.into_iter().map(|argument| self.number_principal(argument)).collect();
        Ok(n_out_of(needed as i32, rules))
    }

    fn arguments(&mut self, depth: usize, after_number: bool) -> Result<Vec<Argument>, TextError> {
        let mut arguments = Vec::new();
        if after_number {
            self.expect(',')?;
        }
        loop {
            self.skip_blanks();
            let argument = match self.peek() {
                Some('\'' | '"') => Argument::Principal(self.principal()?),
                _ => Argument::Rule(self.gate(depth + 1)?),
            };
            arguments.push(argument);
            if !self.accept(',') {
                break;
            }
        }
        self.expect(')')?;
        Ok(arguments)
    }

    fn number_principal(&mut self, argument: Argument) -> SignaturePolicy {
        match argument {
            Argument::Rule(rule) => rule,
            Argument::Principal(principal) => {
                self.principals.push(principal);
                signed_by(self.principals.len() as i32 - 1)
            }
        }
    }

    fn gate_name(&mut self) -> Result<Gate, TextError> {
        self.skip_blanks();
        let rest = &self.text[self.position..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let gate = match &rest[..end] {
            "AND" | "And" | "and" => Gate::And,
            "OR" | "Or" | "or" => Gate::Or,
            "OutOf" | "OUTOF" | "outof" => Gate::OutOf,
            other => {
                let text = format!("expected AND, OR, OutOf or a quoted principal, found '{other}'");
                return Err(self.problem(&text));
            }
        };
        self.position += end;
        Ok(gate)
    }

    /// Digits, bare or quoted: Fabric takes both.
    fn number(&mut self) -> Result<usize, TextError> {
        self.skip_blanks();
        let quote = self.peek().filter(|c| matches!(c, '\'' | '"'));
        self.position += usize::from(quote.is_some());
        let rest = &self.text[self.position..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let expected = "OutOf starts with how many are needed, such as OutOf(2, ..)";
        let number = rest[..end].parse::<u16>().map_err(|_| self.problem(expected))?;
        self.position += end;
        if let Some(quote) = quote {
            self.expect(quote)?;
        }
        Ok(usize::from(number))
    }

    fn principal(&mut self) -> Result<MspPrincipal, TextError> {
        let quote = self.peek().unwrap_or('\'');
        let start = self.position + 1;
        let length = self.text[start..].find(quote);
        let length = length.ok_or_else(|| self.problem("the quoted principal has no end"))?;
        let name = &self.text[start..start + length];
        let principal = principal(name).ok_or_else(|| {
            self.problem(&format!(
                "'{name}' is no principal; expected MSPID.role with role admin, member, client, peer or orderer"
            ))
        })?;
        self.position = start + length + 1;
        Ok(principal)
    }

    fn expect(&mut self, wanted: char) -> Result<(), TextError> {
        if self.accept(wanted) { Ok(()) } else { Err(self.problem(&format!("expected '{wanted}'"))) }
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let found = self.peek() == Some(wanted);
        self.position += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn peek(&self) -> Option<char> {
        self.text[self.position..].chars().next()
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.position..];
        self.position += rest.len() - rest.trim_start().len();
    }

    fn problem(&self, text: &str) -> TextError {
        TextError { position: self.position, problem: text.to_owned() }
    }
}

fn principal(name: &str) -> Option<MspPrincipal> {
    let (msp_id, role) = name.rsplit_once('.')?;
    let role = match role {
        "admin" => MspRoleType::Admin,
        "member" => MspRoleType::Member,
        "client" => MspRoleType::Client,
        "peer" => MspRoleType::Peer,
        "orderer" => MspRoleType::Orderer,
        _ => return None,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    (!msp_id.is_empty() && msp_id.chars().all(allowed)).then(|| role_principal(msp_id, role))
}
