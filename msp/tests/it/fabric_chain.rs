//! Identities, certificates and signatures of a real Fabric 3.1.5 network (testdata/fabric): the
//! MSPs of its genesis block, and the signatures of block 7 of that chain.

use std::borrow::Cow;

use bytes::Bytes;
use prost::Message as _;
use ripstop_msp::policy_text::parse;
use ripstop_msp::signature_policy::SignaturePolicy;
use ripstop_msp::{Certificate, Msp, MspSet, MspVersion, Role, SignedBytes};
use ripstop_proto::msp::FabricMspConfig;

fn file(name: &str) -> Bytes {
    let path = format!("{}/testdata/fabric/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap().into()
}

fn config(msp_id: &str) -> FabricMspConfig {
    FabricMspConfig::decode(file(&format!("{msp_id}.msp"))).unwrap()
}

fn msps() -> MspSet {
    let setup = |msp_id: &&str| Msp::new(&config(msp_id), MspVersion::V3_0).unwrap();
    MspSet::new(["Org1MSP", "Org2MSP", "OrdererMSP"].iter().map(setup).collect())
}

struct Signed {
    identity: Bytes,
    message: Bytes,
    signature: Bytes,
}

impl Signed {
    fn of(name: &str) -> Self {
        let part = |part: &str| file(&format!("{name}.{part}"));
        Self { identity: part("identity"), message: part("message"), signature: part("signature") }
    }

    fn bytes(&self) -> SignedBytes<'_> {
        SignedBytes { identity: &self.identity, message: Cow::Borrowed(&self.message), signature: &self.signature }
    }
}

#[test]
fn every_signer_of_a_real_block_verifies_with_its_role() {
    let msps = msps();
    let expected =
        [("creator", Role::Client), ("endorser0", Role::Peer), ("endorser1", Role::Peer), ("orderer", Role::Orderer)];
    for (name, role) in expected {
        let signed = Signed::of(name);
        let identity = msps.identity(&signed.identity).unwrap();
        assert_eq!(identity.verify(&signed.message, &signed.signature), Ok(()), "{name}");
        let found = identity.role().unwrap();
        assert!(found == role || (name == "creator" && found == Role::Admin), "{name}: {found:?}");
        let mut changed = signed.message.to_vec();
        changed[0] ^= 1;
        assert!(identity.verify(&changed, &signed.signature).is_err(), "{name}");
    }
}

#[test]
fn a_real_endorsement_satisfies_its_policy() {
    let (one, two) = (Signed::of("endorser0"), Signed::of("endorser1"));
    let evaluate = |text: &str, signatures: &[SignedBytes<'_>]| {
        let policy = SignaturePolicy::compile(&parse(text).unwrap()).unwrap();
        policy.evaluate(&msps(), signatures).is_ok()
    };
    let and = "AND('Org1MSP.peer','Org2MSP.peer')";
    assert!(evaluate(and, &[one.bytes(), two.bytes()]));
    assert!(!evaluate(and, &[one.bytes()]));
    assert!(!evaluate("AND('Org1MSP.admin','Org2MSP.peer')", &[one.bytes(), two.bytes()]));
}

/// One of these authorities signed itself with a high `s`, which Fabric's MSP rewrites.
#[test]
fn authorities_with_a_high_s_are_set_up_and_tied_to_their_units() {
    let msp = Msp::new(&config("Org1MSP"), MspVersion::V3_0).unwrap();
    assert!(msp.has_node_ous());
    let root = &msp.to_config().root_certs[0];
    let received = Certificate::from_pem(root).unwrap();
    let read = msp.identity_from_pem(root).unwrap();
    assert_ne!(read.certificate().der(), received.der());
    assert!(msp.certifiers(root).is_ok());
}

#[test]
fn the_configuration_is_kept_byte_by_byte() {
    for msp_id in ["Org1MSP", "Org2MSP", "OrdererMSP"] {
        let msp = Msp::new(&config(msp_id), MspVersion::V3_0).unwrap();
        assert_eq!(msp.to_config().encode_to_vec(), file(&format!("{msp_id}.msp")));
    }
}
