//! Derived keys.

use ripstop_chaincode_sdk::Key;

#[derive(Debug, PartialEq, Key)]
struct Place {
    city: String,
    house: (u32, char),
}

#[derive(Debug, PartialEq, Key)]
struct Id(u64);

fn parts(key: &impl Key) -> Vec<String> {
    let mut parts = Vec::new();
    key.write(&mut parts);
    parts
}

#[test]
fn a_derived_key_has_the_parts_of_its_fields_and_reads_back() {
    let place = Place { city: "Ulm".to_owned(), house: (7, 'b') };
    assert_eq!(parts(&place), ["Ulm", "7", "b"]);
    assert_eq!(Place::read(&mut parts(&place).into_iter()).unwrap(), place);
    assert_eq!(Id::read(&mut parts(&Id(5)).into_iter()).unwrap(), Id(5));
    assert!(Place::read(&mut vec!["Ulm".to_owned()].into_iter()).is_err());
}
