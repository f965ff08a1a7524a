//! Certificate chains as Go's `x509.Verify` builds them for Fabric's MSP.
//!
//! `rustls-webpki` does not fit: it wants extended key usages, refuses end entities that are CAs and
//! version 1 roots, checks server names, and returns the first path it finds; Fabric needs **all**
//! paths, because an identity with two of them is refused. So the search is written out here; it is
//! short, since no names and no revocation take part.
//!
//! Every certificate of a path must be valid one second after the *examined* certificate's
//! NotBefore. The present time plays no part, so a verdict never changes with the clock.

use std::sync::Arc;

use crate::certificate::Certificate;

/// As Go's verifier: a hostile set of authorities must not cost unlimited signature checks.
const SIGNATURE_CHECKS_MAX: usize = 100;

/// Why there is no single chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No authority of the MSP signed it (or none that was allowed to).
    #[error("no certificate authority of this MSP issued the certificate ({reason})")]
    Unknown {
        /// What failed last, or that no authority has the issuer's name.
        reason: &'static str,
    },
    /// Two or more paths lead to roots.
    #[error(
        "{count} chains lead to roots of this MSP; exactly one is allowed (is an authority listed twice, or cross-signed?)"
    )]
    Ambiguous {
        /// How many.
        count: usize,
    },
    /// NotAfter lies before NotBefore.
    #[error("the certificate is not valid one second after its own begin of validity")]
    NeverValid,
    /// A critical extension that is not understood.
    #[error("the certificate has the critical extension {0}, which is not supported")]
    CriticalExtension(String),
    /// Extended key usages exclude what Go's verifier asks for by default.
    #[error(
        "the extended key usages of the chain allow neither any use nor TLS server, which Fabric's verification asks for"
    )]
    KeyUsage,
    /// More than 100 signatures had to be checked.
    #[error("more than {SIGNATURE_CHECKS_MAX} signature checks were needed to find a chain")]
    Budget,
}

/// The certificates above an examined one, issuer first, root last. Empty for a root itself.
pub(crate) type Chain = Vec<Arc<Certificate>>;

/// The authorities of an MSP.
#[derive(Debug, Clone, Default)]
pub(crate) struct Authorities {
    pub(crate) roots: Chain,
    pub(crate) intermediates: Chain,
}

impl Authorities {
    /// A certificate listed twice counts once.
    pub(crate) fn new(roots: Chain, intermediates: Chain) -> Self {
        Self { roots: distinct(roots), intermediates: distinct(intermediates) }
    }

    /// The one chain of `certificate`.
    pub(crate) fn unique_chain(&self, certificate: &Certificate) -> Result<Chain, ChainError> {
        if let Some(oid) = &certificate.extensions.unknown_critical {
            return Err(ChainError::CriticalExtension(oid.clone()));
        }
        let at = certificate.not_before.saturating_add(1);
        if at > certificate.not_after {
            return Err(ChainError::NeverValid);
        }
        let mut search =
            Search { authorities: self, at, checks: 0, found: Vec::new(), reason: "the issuer's name is unknown" };
        if self.roots.iter().any(|root| root.der() == certificate.der()) {
            search.found.push(Vec::new());
        } else {
            search.climb(certificate, certificate, &mut Vec::new())?;
        }
        only_usable(certificate, search)
    }
}

fn only_usable(certificate: &Certificate, search: Search<'_>) -> Result<Chain, ChainError> {
    if search.found.is_empty() {
        return Err(ChainError::Unknown { reason: search.reason });
    }
    let mut usable = search.found;
    usable.retain(|chain| {
        let excluded = chain.iter().any(|above| above.extensions.excludes_servers);
        !excluded && !certificate.extensions.excludes_servers
    });
    match usable.len() {
        0 => Err(ChainError::KeyUsage),
        1 => Ok(usable.swap_remove(0)),
        count => Err(ChainError::Ambiguous { count }),
    }
}

struct Search<'a> {
    authorities: &'a Authorities,
    at: i64,
    checks: usize,
    found: Vec<Chain>,
    reason: &'static str,
}

impl Search<'_> {
    fn climb(&mut self, examined: &Certificate, child: &Certificate, above: &mut Chain) -> Result<(), ChainError> {
        let authorities = self.authorities;
        for root in &authorities.roots {
            if self.issued(examined, child, root, above, true)? {
                let mut chain = above.clone();
                chain.push(root.clone());
                self.found.push(chain);
            }
        }
        for intermediate in &authorities.intermediates {
            if self.issued(examined, child, intermediate, above, false)? {
                above.push(intermediate.clone());
                self.climb(examined, intermediate, above)?;
                above.pop();
            }
        }
        Ok(())
    }

    fn issued(
        &mut self,
        examined: &Certificate,
        child: &Certificate,
        candidate: &Certificate,
        above: &Chain,
        is_root: bool,
    ) -> Result<bool, ChainError> {
        let seen = same_entity(candidate, examined) || above.iter().any(|earlier| same_entity(candidate, earlier));
        if candidate.subject != child.issuer || seen {
            return Ok(false);
        }
        self.checks += 1;
        if self.checks > SIGNATURE_CHECKS_MAX {
            return Err(ChainError::Budget);
        }
        let verdict = may_issue(candidate)
            .and_then(|()| signed_by(child, candidate))
            .and_then(|()| stands(candidate, self.at, above.len(), is_root));
        if let Err(reason) = verdict {
            self.reason = reason;
        }
        Ok(verdict.is_ok())
    }
}

/// Whether an authority signed its own certificate, by the rules for issuers.
pub(crate) fn signed_itself(certificate: &Certificate) -> bool {
    certificate.is_ca()
        && may_issue(certificate).is_ok()
        && certificate.verify_signed_by(certificate.public_key()).is_ok()
}

fn may_issue(candidate: &Certificate) -> Result<(), &'static str> {
    let constraints = candidate.extensions.is_ca;
    if constraints == Some(false) || (candidate.is_v3 && constraints.is_none()) {
        return Err("the issuer is no certificate authority");
    }
    if candidate.extensions.may_sign_certificates == Some(false) {
        return Err("the issuer's key usage does not include signing certificates");
    }
    Ok(())
}

fn signed_by(child: &Certificate, candidate: &Certificate) -> Result<(), &'static str> {
    child
        .verify_signed_by(candidate.public_key())
        .map_err(|_| "the signature does not match the issuer's key, or its algorithm is not supported")
}

fn stands(candidate: &Certificate, at: i64, intermediates: usize, is_root: bool) -> Result<(), &'static str> {
    if candidate.extensions.unknown_critical.is_some() {
        return Err("the issuer has a critical extension that is not supported");
    }
    if at < candidate.not_before || at > candidate.not_after {
        return Err("the issuer was not valid when the certificate's validity began");
    }
    if !is_root && candidate.extensions.is_ca != Some(true) {
        return Err("the issuer is no certificate authority");
    }
    let limit = candidate.extensions.path_length_max;
    if limit.is_some_and(|limit| intermediates as u64 > u64::from(limit)) {
        return Err("the chain is longer than the issuer's path length allows");
    }
    Ok(())
}

/// Go's test for "already in the chain": the same name, key and alternative names.
fn same_entity(left: &Certificate, right: &Certificate) -> bool {
    left.subject == right.subject
        && left.public_key() == right.public_key()
        && left.extensions.subject_alternative_name == right.extensions.subject_alternative_name
}

fn distinct(certificates: Chain) -> Chain {
    let mut kept: Chain = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        if kept.iter().all(|earlier| earlier.der() != certificate.der()) {
            kept.push(certificate);
        }
    }
    kept
}
