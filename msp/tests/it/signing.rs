//! Signatures of identities: which bytes count.

use rcgen::KeyPair;
use ripstop_msp::{
    Certificate, IdentityError, InvalidIdentity, KeyKind, Msp, MspVersion, PrivateKey, SignatureError, SigningError,
    SigningIdentity,
};
use ripstop_proto::msp::FabricMspConfig;

use crate::pki::{ORG, config, other_keys, setup, simple, unchanged};

#[test]
fn both_kinds_of_keys_sign_and_verify() {
    let (root, msp) = simple();
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let leaf = root.leaf_of("someone", &["client"], key, unchanged);
        let signer = leaf.signer(ORG);
        let identity = msp.identity(signer.serialized()).unwrap();
        for message in [&b""[..], b"message", &[7; 5000]] {
            let signature = signer.sign(message).unwrap();
            assert_eq!(identity.verify(message, &signature), Ok(()));
            assert_eq!(identity.verify(b"other", &signature), Err(SignatureError::Mismatch));
            let longer = [&signature[..], &[0]].concat();
            assert_eq!(identity.verify(message, &longer), Err(SignatureError::Malformed));
            assert_eq!(identity.verify(message, &signature[..signature.len() - 1]), Err(SignatureError::Malformed));
        }
        assert_eq!(identity.verify(b"", &[]), Err(SignatureError::Malformed));
    }
}

#[test]
fn every_changed_bit_of_a_signature_is_refused() {
    let key = PrivateKey::generate(KeyKind::P256).unwrap();
    let signature = key.sign(b"message").unwrap();
    for bit in 0..signature.len() * 8 {
        let mut changed = signature.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(key.public_key().verify(b"message", &changed).is_err(), "bit {bit}");
    }
}

/// `s -> N - s`, the other signature that the equation accepts.
#[test]
fn the_high_twin_of_a_signature_is_refused() {
    let n = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let key = PrivateKey::generate(KeyKind::P256).unwrap();
    let signature = key.sign(b"message").unwrap();
    let r_length = usize::from(signature[3]);
    let r = &signature[4..4 + r_length];
    let s = &signature[6 + r_length..];
    let mut twin = vec![0u8; 32];
    let mut borrow = 0i32;
    for place in (0..32).rev() {
        let from_end = 31 - place;
        let digit = if from_end < s.len() { s[s.len() - 1 - from_end] } else { 0 };
        let difference = i32::from(n[place]) - i32::from(digit) - borrow;
        borrow = i32::from(difference < 0);
        twin[place] = difference.rem_euclid(256) as u8;
    }
    // The high twin has its top bit set, so a zero byte stands before it.
    let mut der = vec![0x30, (2 + r_length + 2 + 33) as u8, 0x02, r_length as u8];
    der.extend_from_slice(r);
    der.extend_from_slice(&[0x02, 33, 0]);
    der.extend_from_slice(&twin);
    assert_eq!(key.public_key().verify(b"message", &der), Err(SignatureError::HighS));
}

#[test]
fn a_signer_keeps_the_text_of_its_certificate() {
    let (root, _) = simple();
    let leaf = root.leaf("someone", &["client"]);
    let text = format!("comment\n{}\n\n", leaf.pem.replace('\n', "\r\n"));
    let signer = SigningIdentity::from_pem(ORG, &text, leaf.key.serialize_pem()).unwrap();
    assert_eq!(signer.certificate_pem(), text);
    assert_eq!(signer.serialized(), &crate::pki::serialized(ORG, text.as_bytes()));
    assert_eq!((signer.msp_id(), signer.certificate().common_name()), (ORG, "someone"));
}

#[test]
fn a_key_of_someone_else_is_refused() {
    let (root, _) = simple();
    let (one, two) = (root.leaf("one", &["client"]), root.leaf("two", &["client"]));
    let mixed = SigningIdentity::from_pem(ORG, &one.pem, two.key.serialize_pem());
    assert!(matches!(mixed, Err(SigningError::Key(_))));
}

#[test]
fn a_high_s_in_a_certificate_is_lowered_once_for_all() {
    let (root, msp) = simple();
    // rcgen signs with either half; all 200 in the same one is out of the question.
    let (mut lowered, mut kept) = (0, 0);
    for index in 0..200 {
        let leaf = root.leaf(&format!("user{index}"), &["client"]);
        let received = Certificate::from_pem(leaf.pem.as_bytes()).unwrap();
        let identity = msp.identity(&leaf.serialized(ORG)).unwrap();
        assert_eq!(identity.validity(), Ok(()));
        let own = identity.certificate();
        let again = msp.identity_from_pem(own.to_pem().as_bytes()).unwrap();
        assert_eq!(again.id(), identity.id());
        assert_eq!(again.certificate().der(), own.der());
        assert_eq!(own.common_name(), received.common_name());
        if own.der() == received.der() {
            kept += 1
        } else {
            lowered += 1
        }
        if lowered > 0 && kept > 0 {
            return;
        }
    }
    panic!("{lowered} lowered, {kept} kept");
}

fn msp_of(authority: &str) -> Msp {
    let mut config: FabricMspConfig = config(&[], &[]);
    config.root_certs = vec![other_keys(authority)];
    Msp::new(&config, MspVersion::V3_0).unwrap()
}

#[test]
fn p384_identities_sign_over_sha256_with_a_low_s() {
    let identity = msp_of("p384-ca.pem").identity_from_pem(&other_keys("p384-leaf.pem")).unwrap();
    assert_eq!(identity.validity(), Ok(()));
    assert_eq!(identity.verify(b"message", &other_keys("p384-low.signature")), Ok(()));
    let high = identity.verify(b"message", &other_keys("p384-high.signature"));
    assert_eq!(high, Err(SignatureError::HighS));
    let other = identity.verify(b"other", &other_keys("p384-low.signature"));
    assert_eq!(other, Err(SignatureError::Mismatch));
}

#[test]
fn rsa_authorities_issue_identities_but_are_none() {
    let msp = msp_of("rsa-ca.pem");
    let identity = msp.identity_from_pem(&other_keys("rsa-leaf.pem")).unwrap();
    assert_eq!(identity.validity(), Ok(()));
    let authority = msp.identity_from_pem(&other_keys("rsa-ca.pem")).unwrap();
    assert_eq!(authority.validity(), Err(&InvalidIdentity::KeyKind("RSA")));
    assert_eq!(authority.verify(b"m", b"s"), Err(SignatureError::UnsupportedKey));
}

#[test]
fn identities_are_of_the_msp_that_is_asked() {
    let (root, msp) = simple();
    let identity = msp.identity(&root.leaf("someone", &["client"]).serialized(ORG)).unwrap();
    let mut other = config(&[&root], &[]);
    other.name = "Org2MSP".into();
    let asked = setup(&other).unwrap().validate(&identity);
    assert!(matches!(asked, Err(IdentityError::OtherMsp { .. })));
}
