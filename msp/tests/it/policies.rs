//! Signature policies: greedy evaluation, duplicates, planning.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;
use ripstop_msp::policy_text::{n_out_of, parse, role_principal, signed_by};
use ripstop_msp::signature_policy::{CompileError, SignaturePolicy, valid_identities};
use ripstop_msp::{Identity, Msp, MspSet, MspVersion, SignedBytes, SigningIdentity};
use ripstop_proto::common::SignaturePolicyEnvelope;
use ripstop_proto::common::msp_role::MspRoleType;

use crate::pki::{Authority, config};

/// MSPs A, B and C, each with two members.
struct Three {
    msps: MspSet,
    /// A1, A2, B1, B2, C1, C2.
    signers: Vec<SigningIdentity>,
}

fn three() -> Three {
    let mut msps = Vec::new();
    let mut signers = Vec::new();
    for name in ["A", "B", "C"] {
        let root = Authority::root(name);
        let mut config = config(&[&root], &[]);
        config.name = name.to_owned();
        msps.push(Msp::new(&config, MspVersion::V3_0).unwrap());
        for number in ["1", "2"] {
            signers.push(root.leaf(&format!("{name}{number}"), &["peer"]).signer(name));
        }
    }
    Three { msps: MspSet::new(msps), signers }
}

impl Three {
    fn signer(&self, name: &str) -> &SigningIdentity {
        let found = self.signers.iter().find(|s| s.certificate().common_name() == name);
        found.unwrap()
    }

    fn identities(&self, names: &[&str]) -> Vec<Arc<Identity>> {
        let read = |name: &&str| self.msps.identity(self.signer(name).serialized()).unwrap();
        names.iter().map(read).collect()
    }

    fn holds(&self, policy: &str, names: &[&str]) -> bool {
        compiled(policy).evaluate_identities(&self.identities(names)).is_ok()
    }
}

fn compiled(text: &str) -> SignaturePolicy {
    SignaturePolicy::compile(&parse(text).unwrap()).unwrap()
}

#[test]
fn and_or_and_out_of_count_signatures() {
    let three = three();
    assert!(three.holds("AND('A.peer','B.peer')", &["A1", "B1"]));
    assert!(three.holds("AND('A.peer','B.peer')", &["B2", "A2"]));
    assert!(!three.holds("AND('A.peer','B.peer')", &["A1", "A2"]));
    assert!(three.holds("OR('A.peer','B.peer')", &["B1"]));
    assert!(!three.holds("OR('A.peer','B.peer')", &["C1"]));
    assert!(!three.holds("OR('A.peer','B.peer')", &[]));
    assert!(three.holds("OutOf(2,'A.member','B.member','C.member')", &["C1", "A1"]));
    assert!(!three.holds("OutOf(2,'A.member','B.member','C.member')", &["C1", "C2"]));
    assert!(three.holds("OutOf(0,'A.member')", &[]));
    assert!(!three.holds("OutOf(2,'A.member')", &["A1", "A2"]));
}

#[test]
fn one_identity_counts_for_one_place() {
    let three = three();
    assert!(!three.holds("AND('A.peer','A.peer')", &["A1"]));
    assert!(three.holds("AND('A.peer','A.peer')", &["A1", "A2"]));
    assert!(!three.holds("AND('A.peer','A.member')", &["A1"]));
}

#[test]
fn an_inner_or_consumes_all_it_can() {
    let three = three();
    let policy = "AND(OR('A.member','B.member'),'B.member')";
    assert!(!three.holds(policy, &["A1", "B1"]));
    assert!(three.holds(policy, &["A1", "B1", "B2"]));
    assert!(three.holds(policy, &["B1", "B2"]));
    assert!(three.holds("AND('B.member',OR('A.member','B.member'))", &["A1", "B1"]));
}

#[test]
fn a_part_that_is_not_met_gives_its_identities_back() {
    let three = three();
    assert!(three.holds("OR(AND('A.peer','C.peer'),'A.peer')", &["A1"]));
    assert!(three.holds("OutOf(1,AND('A.peer','B.peer'),AND('A.peer','C.peer'))", &["A1", "C1"]));
}

fn signed<'a>(three: &'a Three, name: &str, message: &'a [u8], signature: &'a [u8]) -> SignedBytes<'a> {
    SignedBytes { identity: three.signer(name).serialized(), message: Cow::Borrowed(message), signature }
}

#[test]
fn only_good_signatures_count_and_each_identity_once() {
    let three = three();
    let good = |name: &str| three.signer(name).sign(b"m").unwrap();
    let (a, again, b, bad) = (good("A1"), good("A1"), good("B1"), good("C1"));
    let unknown = crate::pki::serialized("Nowhere", b"x");
    let set = [
        signed(&three, "A2", b"m", &bad),
        signed(&three, "A1", b"m", &bad),
        signed(&three, "A1", b"m", &a),
        SignedBytes { identity: &unknown, message: Cow::Borrowed(b"m"), signature: &a },
        SignedBytes { identity: b"\xff", message: Cow::Borrowed(b"m"), signature: &a },
        signed(&three, "A1", b"m", &again),
        signed(&three, "B1", b"m", &b),
    ];
    let names: Vec<String> = valid_identities(&three.msps, &set)
        .iter()
        .map(|identity| identity.certificate().common_name().to_owned())
        .collect();
    assert_eq!(names, ["A1", "B1"], "a bad signature before a good one does not matter");
    assert_eq!(compiled("AND('A.peer','B.peer')").evaluate(&three.msps, &set), Ok(()));
    let failure = compiled("AND('A.peer','C.peer')").evaluate(&three.msps, &set).unwrap_err();
    assert_eq!(failure.policy, "AND('A.peer', 'C.peer')");
    assert_eq!(failure.signers, ["A (A1)", "B (B1)"]);
}

/// The same certificate in other PEM text is the same identity.
#[test]
fn another_text_of_a_certificate_is_no_second_identity() {
    let three = three();
    let signer = three.signer("A1");
    let other_text = format!("{}\n\n", signer.certificate_pem().replace('\n', "\r\n"));
    let disguised = crate::pki::serialized("A", other_text.as_bytes());
    let (one, two) = (signer.sign(b"m").unwrap(), signer.sign(b"m").unwrap());
    let set = [
        signed(&three, "A1", b"m", &one),
        SignedBytes { identity: &disguised, message: Cow::Borrowed(b"m"), signature: &two },
    ];
    assert_eq!(valid_identities(&three.msps, &set).len(), 1);
    assert!(compiled("AND('A.peer','A.peer')").evaluate(&three.msps, &set).is_err());
}

#[test]
fn what_does_not_compile_is_named() {
    let envelope = |rule, identities| SignaturePolicyEnvelope { version: 0, rule, identities };
    let member = || role_principal("A", MspRoleType::Member);
    assert_eq!(SignaturePolicy::compile(&envelope(None, vec![])), Err(CompileError::Empty));
    let empty = ripstop_proto::common::SignaturePolicy { r#type: None };
    assert_eq!(SignaturePolicy::compile(&envelope(Some(empty), vec![])), Err(CompileError::Empty));
    for index in [-1, 1] {
        let out = envelope(Some(signed_by(index)), vec![member()]);
        assert_eq!(SignaturePolicy::compile(&out), Err(CompileError::Index { index, count: 1 }));
    }
    let deep = (0..100).fold(signed_by(0), |inner, _| n_out_of(1, vec![inner]));
    let deep = envelope(Some(deep), vec![member()]);
    assert_eq!(SignaturePolicy::compile(&deep), Err(CompileError::Depth));
    let mut later = envelope(Some(signed_by(0)), vec![member()]);
    later.version = 1;
    assert!(SignaturePolicy::compile(&later).is_ok());
    assert_eq!(SignaturePolicy::compile_version_0(&later), Err(CompileError::Version(1)));
}

#[test]
fn a_negative_count_is_always_met_as_in_fabric() {
    let rule = n_out_of(-1, vec![signed_by(0)]);
    let identities = vec![role_principal("A", MspRoleType::Member)];
    let envelope = SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities };
    let policy = SignaturePolicy::compile(&envelope).unwrap();
    assert_eq!(policy.evaluate_identities(&[]), Ok(()));
}

#[test]
fn satisfying_sets_are_minimal() {
    let sets = |text: &str| compiled(text).satisfying_sets();
    assert_eq!(sets("AND('A.peer','B.peer')"), [[0, 1]]);
    assert_eq!(sets("OR('A.peer','B.peer')"), [[0], [1]]);
    assert_eq!(sets("OutOf(2,'A.peer','B.peer','C.peer')"), [[0, 1], [0, 2], [1, 2]]);
    // Inner gates are numbered first: B and C are 0 and 1.
    assert_eq!(sets("OR('A.peer',AND('B.peer','C.peer'))"), [vec![2], vec![0, 1]]);
    assert_eq!(sets("OutOf(0,'A.peer')"), [Vec::<usize>::new()]);
    assert!(sets("OutOf(2,'A.peer')").is_empty());
}

#[test]
fn sets_that_greedy_evaluation_refuses_are_left_out() {
    let policy = compiled("AND(OR('A.member','B.member'),'B.member')");
    // 0: A, 1: B (inner), 2: B (outer). A and B together fail; two of B do.
    assert_eq!(policy.satisfying_sets(), [[1, 2]]);
    let harder = compiled("AND(OR('A.member','B.member'),'A.member','B.member')");
    assert_eq!(harder.satisfying_sets(), [[0, 1, 2, 3]]);
}

#[test]
fn large_policies_are_planned_in_bounded_time() {
    let many = |count: usize| -> String {
        let places: Vec<String> = (0..count).map(|index| format!("'Org{index}.peer'")).collect();
        places.join(",")
    };
    let sets = compiled(&format!("OutOf(11,{})", many(20))).satisfying_sets();
    assert!(!sets.is_empty() && sets.iter().all(|set| set.len() == 11));
    assert!(compiled(&format!("OutOf(50,{})", many(101))).satisfying_sets().is_empty());
}

const ALL: [&str; 6] = ["A1", "A2", "B1", "B2", "C1", "C2"];

/// Policies over A, B and C with at most three levels.
fn policies() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![Just("'A.peer'"), Just("'B.member'"), Just("'C.peer'")].prop_map(str::to_owned);
    leaf.prop_recursive(3, 10, 3, |inner| {
        prop::collection::vec(inner, 1..4)
            .prop_flat_map(|parts| (0..=parts.len()).prop_map(move |n| format!("OutOf({n},{})", parts.join(","))))
    })
    .prop_filter("a gate", |text| text.starts_with("OutOf"))
}

/// Fabric's rule once more, written as a plain recursion over a shared list.
fn greedy(
    rule: &ripstop_proto::common::SignaturePolicy,
    policy: &SignaturePolicy,
    identities: &[Arc<Identity>],
    used: &mut Vec<usize>,
) -> bool {
    use ripstop_proto::common::signature_policy::Type;
    match rule.r#type.as_ref().unwrap() {
        Type::SignedBy(principal) => {
            let principal = &policy.principals()[*principal as usize];
            for (index, identity) in identities.iter().enumerate() {
                if !used.contains(&index) && principal.check(identity).is_ok() {
                    used.push(index);
                    return true;
                }
            }
            false
        }
        Type::NOutOf(out_of) => {
            let mut met = 0;
            for part in &out_of.rules {
                let mark = used.len();
                if greedy(part, policy, identities, used) {
                    met += 1;
                } else {
                    used.truncate(mark);
                }
            }
            met >= out_of.n
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn evaluation_follows_the_greedy_rule(
        cases in prop::collection::vec((policies(), prop::sample::subsequence(ALL.to_vec(), 0..=6).prop_shuffle()), 1..4),
    ) {
        static THREE: std::sync::LazyLock<Three> = std::sync::LazyLock::new(three);
        for (text, names) in cases {
            let envelope = parse(&text).unwrap();
            let policy = SignaturePolicy::compile(&envelope).unwrap();
            let identities = THREE.identities(&names);
            let expected = greedy(envelope.rule.as_ref().unwrap(), &policy, &identities, &mut Vec::new());
            prop_assert_eq!(policy.evaluate_identities(&identities).is_ok(), expected, "{} {:?}", text, names);
        }
    }

    /// Every planned set is enough, in the order given, where there are enough different signers.
    #[test]
    fn planned_sets_are_enough(text in policies()) {
        static THREE: std::sync::LazyLock<Three> = std::sync::LazyLock::new(three);
        let policy = compiled(&text);
        for set in policy.satisfying_sets() {
            let mut names: Vec<String> = Vec::new();
            for index in &set {
                let msp = policy.principals()[*index].msp_id().unwrap();
                let number = names.iter().filter(|name| name.starts_with(msp)).count() + 1;
                names.push(format!("{msp}{number}"));
            }
            if names.iter().any(|name| !ALL.contains(&name.as_str())) {
                continue;
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            prop_assert!(THREE.holds(&text, &names), "{} {:?}", text, names);
        }
    }
}
