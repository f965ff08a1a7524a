//! Compiles every .proto file below `proto/` without an outside compiler.

use std::path::{Path, PathBuf};

use protox::prost_reflect::prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = proto_files(root)?;
    let descriptors = protox::compile(&files, [root])?;
    write_methods(&descriptors)?;
    tonic_prost_build::configure()
        // Otherwise `protos.Chaincode/Connect` collides with the generated `connect`.
        .build_transport(false)
        .bytes(".")
        // Map entries are written in the map's order, which must not depend on the process.
        .btree_map(".")
        .include_file("wire.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

/// Every method of every service: its path, and whether either side sends a stream.
fn write_methods(descriptors: &FileDescriptorSet) -> std::io::Result<()> {
    let mut lines = String::from("[\n");
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let is_stream = method.client_streaming() || method.server_streaming();
                lines.push_str(&format!("    ({path:?}, {is_stream}),\n"));
            }
        }
    }
    lines.push(']');
    let out = std::env::var_os("OUT_DIR").unwrap_or_default();
    std::fs::write(Path::new(&out).join("methods.rs"), lines)
}

fn proto_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(proto_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
