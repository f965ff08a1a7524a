//! Values of a message that show a wrong number, type or presence of any of its fields:
//! each field alone with every telling value, and all fields together.

use protox::prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};

/// Largest integer that JavaScript holds exactly.
const SAFE_INTEGER_MAX: i64 = (1 << 53) - 1;
/// How deep recursive messages are filled.
const DEPTH: usize = 3;

/// The empty message, the full one, and every field alone with each of its values.
pub(crate) fn samples(message: &MessageDescriptor) -> Vec<DynamicMessage> {
    let mut samples = vec![DynamicMessage::new(message.clone()), full(message, DEPTH)];
    for field in message.fields() {
        for value in values(&field) {
            let mut sample = DynamicMessage::new(message.clone());
            sample.set_field(&field, value);
            samples.push(sample);
        }
    }
    samples
}

/// Every field set; of a oneof its first member.
fn full(message: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut full = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let later_member = field.containing_oneof().is_some_and(|oneof| oneof.fields().next() != Some(field.clone()));
        if later_member || depth == 0 {
            continue;
        }
        if let Some(value) = full_value(&field, depth) {
            full.set_field(&field, value);
        }
    }
    full
}

/// `None` where only an entry with an empty value could be made: it has two encodings.
fn full_value(field: &FieldDescriptor, depth: usize) -> Option<Value> {
    if field.is_map() {
        let (key, value) = (scalars(&map_key(field))[0].clone(), full_scalar(&map_value(field), depth));
        return (!is_empty(&value)).then(|| map(key, value));
    }
    let value = full_scalar(field, depth);
    Some(if field.is_list() { Value::List(vec![value.clone(), value]) } else { value })
}

fn full_scalar(field: &FieldDescriptor, depth: usize) -> Value {
    match field.kind() {
        Kind::Message(message) => Value::Message(full(&message, depth - 1)),
        _ => scalars(field).swap_remove(0),
    }
}

/// What a field may hold, so that each choice shows on the wire.
fn values(field: &FieldDescriptor) -> Vec<Value> {
    if field.is_map() {
        let (keys, elements) = (scalars(&map_key(field)), elements(&map_value(field)));
        let pairs = elements.into_iter().enumerate().filter(|(_, element)| !is_empty(element));
        return pairs.map(|(index, element)| map(keys[index % keys.len()].clone(), element)).collect();
    }
    let mut values = elements(field);
    if field.is_list() {
        // One list with an empty element among the others, beside the lists of one.
        let all = values.iter().cloned().chain([Value::default_value(&field.kind())]).collect();
        return values.into_iter().map(|value| vec![value]).chain([all]).map(Value::List).collect();
    }
    if field.supports_presence() {
        values.push(Value::default_value(&field.kind()));
    }
    values
}

fn elements(field: &FieldDescriptor) -> Vec<Value> {
    match field.kind() {
        Kind::Message(message) => vec![Value::Message(full(&message, DEPTH - 1))],
        _ => scalars(field),
    }
}

/// Values other than the default.
fn scalars(field: &FieldDescriptor) -> Vec<Value> {
    match field.kind() {
        Kind::Bool => vec![Value::Bool(true)],
        Kind::Int32 => [1, -1, i32::MAX, i32::MIN].map(Value::I32).to_vec(),
        Kind::Int64 => [1, -1, SAFE_INTEGER_MAX, -SAFE_INTEGER_MAX].map(Value::I64).to_vec(),
        Kind::Uint32 => [1, u32::MAX].map(Value::U32).to_vec(),
        Kind::Uint64 => [1, SAFE_INTEGER_MAX as u64].map(Value::U64).to_vec(),
        Kind::String => {
            ["a", "Zoë ✓ 🦀", "\u{0}\u{10FFFF}", &"long".repeat(50)].map(|text| Value::String(text.into())).to_vec()
        }
        // No valid text: shows where the other side holds a string.
        Kind::Bytes => {
            [&b"\xff\xfe\x00\x80"[..], b"\x00", &[0xc3; 300]].map(|bytes| Value::Bytes(bytes.to_vec().into())).to_vec()
        }
        Kind::Enum(numbers) => {
            let named = numbers.values().map(|value| value.number()).filter(|number| *number != 0);
            // Enums are open: a number without a name passes through.
            named.chain([i32::MAX]).map(Value::EnumNumber).collect()
        }
        kind => panic!("{}: no sample values for {kind:?} yet", field.full_name()),
    }
}

fn map(key: Value, value: Value) -> Value {
    let key = match key {
        Value::String(text) => MapKey::String(text),
        Value::U64(number) => MapKey::U64(number),
        key => panic!("no map keys of {key:?} yet"),
    };
    Value::Map([(key, value)].into())
}

fn map_key(field: &FieldDescriptor) -> FieldDescriptor {
    field.kind().as_message().unwrap().map_entry_key_field()
}

fn map_value(field: &FieldDescriptor) -> FieldDescriptor {
    field.kind().as_message().unwrap().map_entry_value_field()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Message(message) => *message == DynamicMessage::new(message.descriptor()),
        value => *value == Value::Bytes(Default::default()),
    }
}
