//! Compiles every .proto file below `proto/` without an outside compiler.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = proto_files(root)?;
    let descriptors = protox::compile(&files, [root])?;
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
