//! Who may act: certificates, identities, signatures, policies; test and development authorities.
