//! An asset as JSON: keys in their order, no spaces, numbers as JavaScript writes them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ripstop_chaincode_sdk::Failure;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::number::Number;

/// An asset with whatever fields it was stored with.
///
/// Written with sorted keys, as the TypeScript sample stores it (`sort-keys-recursive`
/// below `json-stringify-deterministic`).
pub(super) struct Asset(Map<String, Value>);

impl Asset {
    pub(super) fn new(id: &str, color: &str, size: Number, owner: &str, appraised_value: Number) -> Self {
        Self(Map::new())
            .with("ID", id)
            .with("Color", color)
            .with("Size", size)
            .with("Owner", owner)
            .with("AppraisedValue", appraised_value)
    }

    pub(super) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    pub(super) fn from_json(stored: &[u8]) -> Result<Self, Failure> {
        Ok(Self(serde_json::from_slice(stored)?))
    }

    /// Sets the owner and returns the one before.
    pub(super) fn replace_owner(&mut self, new_owner: String) -> String {
        match self.0.insert("Owner".to_owned(), new_owner.into()) {
            Some(Value::String(owner)) => owner,
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    pub(super) fn to_json(&self) -> String {
        let mut json = String::new();
        write_object(&self.0, &mut json);
        json
    }
}

/// A stored value as an item of a JSON list: itself, or as a text when it is no JSON.
pub(super) fn list_item(stored: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(stored);
    if serde_json::from_str::<IgnoredAny>(&text).is_ok() { text } else { Value::from(text).to_string().into() }
}

fn write(value: &Value, json: &mut String) {
    match value {
        Value::Object(fields) => write_object(fields, json),
        Value::Array(items) => write_list(items.iter(), ['[', ']'], json, write),
        // Without the feature `arbitrary_precision` every number has such a form.
        Value::Number(number) => json.push_str(&Number(number.as_f64().unwrap_or(f64::NAN)).to_json()),
        Value::Null | Value::Bool(_) | Value::String(_) => json.push_str(&value.to_string()),
    }
}

fn write_object(fields: &Map<String, Value>, json: &mut String) {
    // Whether the map is sorted depends on a feature that any other crate may turn on.
    let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
    write_list(sorted.into_iter(), ['{', '}'], json, |(name, value), json| {
        json.push_str(&Value::from(name.as_str()).to_string());
        json.push(':');
        write(value, json);
    });
}

fn write_list<T>(
    items: impl Iterator<Item = T>,
    [open, close]: [char; 2],
    json: &mut String,
    write_item: impl Fn(T, &mut String),
) {
    json.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            json.push(',');
        }
        write_item(item, json);
    }
    json.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_stored_with_sorted_keys_and_plain_numbers() {
        let asset = Asset::new("asset1", "blue", Number(5.0), "Tomoko", Number(300.5)).with("docType", "asset");
        assert_eq!(
            asset.to_json(),
            r#"{"AppraisedValue":300.5,"Color":"blue","ID":"asset1","Owner":"Tomoko","Size":5,"docType":"asset"}"#
        );
    }

    #[test]
    fn a_change_of_owner_keeps_fields_that_this_contract_does_not_know() {
        let mut asset =
            Asset::from_json(br#"{"z":[1.0,{"b":1e21,"a":"\u001f\n\""}],"Owner":"Max","Size":5.0}"#).unwrap();
        assert_eq!(asset.replace_owner("Eve".to_owned()), "Max");
        assert_eq!(asset.to_json(), r#"{"Owner":"Eve","Size":5,"z":[1,{"a":"\u001f\n\"","b":1e+21}]}"#);
    }

    #[test]
    fn what_is_no_json_becomes_a_text_of_the_list() {
        assert_eq!(list_item(br#"{"b":1,"a":2}"#), r#"{"b":1,"a":2}"#);
        assert_eq!(list_item(b"say \"hi\""), r#""say \"hi\"""#);
    }
}
