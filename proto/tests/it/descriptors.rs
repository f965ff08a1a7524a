//! Our `.proto` files as descriptors, compiled again for the tests: what a message holds,
//! without a list kept by hand.

use std::path::{Path, PathBuf};

use protox::prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};

/// Everything below `proto/` that also exists outside: our own package is left out.
pub(crate) struct Wire {
    pool: DescriptorPool,
}

impl Wire {
    pub(crate) fn compile() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let files = protox::compile(proto_files(&root), [&root]).unwrap();
        Self { pool: DescriptorPool::from_file_descriptor_set(files).unwrap() }
    }

    /// Paths as they are imported, such as `common/common.proto`.
    pub(crate) fn file_names(&self) -> Vec<String> {
        self.pool.files().filter(is_shared).map(|file| file.name().to_owned()).collect()
    }

    pub(crate) fn messages(&self) -> Vec<MessageDescriptor> {
        self.pool
            .all_messages()
            .filter(|message| is_shared(&message.parent_file()) && !message.is_map_entry())
            .collect()
    }

    /// One line per field: message, number and type, named as by the official encoder.
    pub(crate) fn fields(&self) -> Vec<String> {
        let line = |field: FieldDescriptor| {
            format!("{} {} {}", field.parent_message().full_name(), field.number(), field_type(&field))
        };
        self.messages().iter().flat_map(|message| message.fields().map(line).collect::<Vec<_>>()).collect()
    }

    pub(crate) fn enums(&self) -> Vec<EnumDescriptor> {
        self.pool.all_enums().filter(|values| is_shared(&values.parent_file())).collect()
    }

    /// One line per method: path, request and response, `stream ` before a streamed side.
    pub(crate) fn methods(&self) -> Vec<String> {
        let services = self.pool.services().filter(|service| is_shared(&service.parent_file()));
        let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
        methods
            .map(|method| {
                let side = |streams, message: MessageDescriptor| {
                    [if streams { "stream " } else { "" }, message.full_name()].concat()
                };
                format!(
                    "/{}/{}|{}|{}",
                    method.parent_service().full_name(),
                    method.name(),
                    side(method.is_client_streaming(), method.input()),
                    side(method.is_server_streaming(), method.output())
                )
            })
            .collect()
    }
}

fn field_type(field: &FieldDescriptor) -> String {
    let kind = field.kind();
    let entry = kind.as_message().filter(|message| message.is_map_entry());
    if let Some(entry) = entry {
        let [key, value] = [entry.map_entry_key_field(), entry.map_entry_value_field()];
        return format!("Map<{},{}>", kind_name(&key.kind()), kind_name(&value.kind()));
    }
    let label = match (field.is_list(), field.is_packed()) {
        (false, _) => "",
        (true, false) => "Repeated",
        (true, true) => "Packed",
    };
    [label, &kind_name(&kind)].concat()
}

fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => format!("Message:{}", message.name()),
        Kind::Enum(_) => "Enum".into(),
        scalar => {
            let name = format!("{scalar:?}");
            [&name[..1].to_uppercase(), &name[1..]].concat()
        }
    }
}

fn is_shared(file: &FileDescriptor) -> bool {
    !file.package_name().starts_with("ripstop")
}

fn proto_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(proto_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    files
}
