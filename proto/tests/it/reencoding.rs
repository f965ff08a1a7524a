//! Every message of ours through the official classes and back.

use std::collections::BTreeSet;

use prost::Message;
use ripstop_proto::{common, lifecycle};

use crate::descriptors::Wire;
use crate::messages::ROUND_TRIPS;
use crate::official::{self, Sample};
use crate::samples::samples;

/// Asserts that the official lines of `mode` are ours; a failure shows only the differences.
fn assert_same_lines(mode: &str, ours: Vec<String>) {
    let files = Wire::compile().file_names();
    let [official, ours] = [official::listed(mode, &files), ours].map(BTreeSet::from_iter);
    let only = |left: &BTreeSet<String>, right| left.difference(right).cloned().collect::<Vec<_>>();
    assert_eq!((only(&official, &ours), only(&ours, &official)), (vec![], vec![]), "(only official, only ours)");
}

#[test]
fn the_official_files_hold_the_same_messages() {
    let ours: Vec<_> = Wire::compile().messages().iter().map(|message| message.full_name().to_owned()).collect();
    assert!(ours.len() > 200, "only {} messages", ours.len());
    assert_same_lines("--list", ours);
}

/// Finds what re-encoding cannot: a field that is wider in the official message.
#[test]
fn the_official_messages_hold_the_same_fields() {
    let ours = Wire::compile().fields();
    for known in ["common.ConfigGroup 2 Map<String,Message:ConfigGroup>", "etcdraft.BlockMetadata 1 PackedUint64"] {
        assert!(ours.iter().any(|field| field == known), "{known}");
    }
    assert_same_lines("--fields", ours);
}

#[test]
fn the_official_enums_hold_the_same_values() {
    let ours = Wire::compile().enums().into_iter().flat_map(|numbers| {
        let line = |(name, number)| format!("{} {name} {number}", numbers.full_name());
        numbers.values().map(|value| (value.name().to_owned(), value.number())).map(line).collect::<Vec<_>>()
    });
    assert_same_lines("--enums", ours.collect());
}

#[test]
fn the_official_services_hold_the_same_methods() {
    assert_same_lines("--services", Wire::compile().methods());
}

#[test]
fn the_official_classes_give_our_bytes_back() {
    let samples = encoded_samples(&Wire::compile());
    let verdicts = official::reencode(&samples);
    let not_equal: Vec<_> = verdicts.lines.iter().filter(|line| !line.starts_with("ok ")).collect();
    assert!(verdicts.all_equal, "{} of {}: {not_equal:#?}", not_equal.len(), samples.len());
    assert_eq!(verdicts.lines.len(), samples.len());
}

/// Samples of every message, as prost encodes the generated types.
fn encoded_samples(wire: &Wire) -> Vec<Sample> {
    let mut encoded = Vec::new();
    for descriptor in wire.messages() {
        let message = descriptor.full_name().to_owned();
        let (_, round_trip) = ROUND_TRIPS
            .iter()
            .find(|(name, _)| *name == message)
            .unwrap_or_else(|| panic!("{message} is missing in tests/it/messages.rs"));
        let before = encoded.len();
        for sample in samples(&descriptor) {
            let expected = sample.encode_to_vec();
            let bytes = round_trip(&expected).unwrap();
            assert_eq!(hex::encode(&bytes), hex::encode(&expected), "{message}: {sample}");
            encoded.push(Sample { message: message.clone(), bytes });
        }
        // Its only field is a map to an empty message; the next test has it.
        let telling = encoded[before..].iter().any(|sample| !sample.bytes.is_empty());
        assert!(telling || descriptor.fields().len() == 0 || message == "common.Capabilities", "{message}: no sample");
    }
    encoded
}

/// prost leaves a default key or value out of a map entry, the official encoders write it.
/// Nothing that is hashed holds such an entry; both sides have to read both forms.
#[test]
fn a_map_entry_with_an_empty_value_has_two_forms_of_one_meaning() {
    let capabilities = common::Capabilities { capabilities: [("V3_0".into(), common::Capability {})].into() };
    let official_form = official_form("common.Capabilities", &capabilities);
    assert_eq!(official_form, b"\x0a\x08\x0a\x04V3_0\x12\x00");
    assert_eq!(common::Capabilities::decode(&official_form[..]).unwrap(), capabilities);

    let approvals = [("Org1MSP".into(), false)].into();
    let readiness = lifecycle::CheckCommitReadinessResult { approvals, ..Default::default() };
    let official_form = self::official_form("lifecycle.CheckCommitReadinessResult", &readiness);
    assert_eq!(official_form, b"\x0a\x0b\x0a\x07Org1MSP\x10\x00");
    assert_eq!(lifecycle::CheckCommitReadinessResult::decode(&official_form[..]).unwrap(), readiness);
}

/// The official encoding of a message where it differs from ours.
fn official_form(name: &str, message: &impl Message) -> Vec<u8> {
    let verdicts = official::reencode(&[Sample { message: name.into(), bytes: message.encode_to_vec() }]);
    assert!(!verdicts.all_equal);
    let words: Vec<_> = verdicts.lines[0].split(' ').collect();
    assert_eq!(words[..3], ["differs", name, &hex::encode(message.encode_to_vec())]);
    hex::decode(words[3]).unwrap()
}

#[test]
fn a_field_that_the_official_class_does_not_know_is_noticed() {
    let sample = |message: &str, bytes: &[u8]| Sample { message: message.into(), bytes: bytes.to_vec() };
    let wrong_number = official::reencode(&[sample("common.LastConfig", b"\x10\x05")]);
    assert_eq!((wrong_number.all_equal, &wrong_number.lines[0][..]), (false, "differs common.LastConfig 1005 -"));
    let wrong_type = official::reencode(&[sample("common.ChannelHeader", b"\x08\xff\xff\xff\xff\x0f")]);
    assert!(!wrong_type.all_equal, "{:?}", wrong_type.lines);
    let unknown = official::reencode(&[sample("common.LastConfig", b"\x08\x05"), sample("common.Unheard", b"")]);
    assert_eq!(
        (unknown.all_equal, &unknown.lines[..]),
        (false, &["ok common.LastConfig".into(), "unknown common.Unheard".into()][..])
    );
}
