//! Compiles the C++ sources of LevelDB that the `leveldb-sys` package carries.
//!
//! The package's own build script needs cmake and is skipped by `.cargo/config.toml`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "leveldb")]
    leveldb::compile();
}

#[cfg(feature = "leveldb")]
mod leveldb {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    const SOURCE_FILES: usize = 37;
    const PORT_CONFIG: &str = "#pragma once\n\
        #define HAVE_FDATASYNC 1\n\
        #define HAVE_FULLFSYNC 0\n\
        #define HAVE_CRC32C 1\n\
        #define HAVE_SNAPPY 0\n\
        #define LEVELDB_IS_BIG_ENDIAN 0\n";

    /// LevelDB's place for a checksum by the processor's own instruction: `database` has it.
    const CRC32C: &str = "#pragma once\n\
        #include <stddef.h>\n\
        #include <stdint.h>\n\
        extern \"C\" uint32_t ripstop_crc32c(uint32_t crc, const uint8_t* bytes, size_t count);\n\
        namespace crc32c {\n\
        inline uint32_t Extend(uint32_t crc, const uint8_t* bytes, size_t count) {\n\
          return ripstop_crc32c(crc, bytes, count);\n\
        }\n\
        }\n";

    pub(crate) fn compile() {
        let root = source_folder();
        let sources = source_files(&root);
        assert_eq!(sources.len(), SOURCE_FILES, "leveldb-sys carries other sources than LevelDB 1.22's: {sources:?}");
        let out = PathBuf::from(variable("OUT_DIR"));
        for (path, header) in [("port/port_config.h", PORT_CONFIG), ("crc32c/crc32c.h", CRC32C)] {
            let path = out.join(path);
            std::fs::create_dir_all(path.parent().expect("a header has a folder")).expect("OUT_DIR is writable");
            std::fs::write(path, header).expect("OUT_DIR is writable");
        }
        cc::Build::new()
            .cpp(true)
            .std("c++11")
            .warnings(false)
            .extra_warnings(false)
            .opt_level(2)
            .debug(false)
            .define("NDEBUG", None)
            .define("LEVELDB_PLATFORM_POSIX", "1")
            .define("LEVELDB_HAS_PORT_CONFIG_H", "1")
            .include(&out)
            .include(&root)
            .include(root.join("include"))
            .files(sources)
            .compile("leveldb");
    }

    /// Asks cargo where the package lies, so that any CARGO_HOME and vendoring work.
    fn source_folder() -> PathBuf {
        let manifest = Path::new(&variable("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let output = Command::new(variable("CARGO"))
            .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
            .arg(&manifest)
            .output()
            .expect("cargo metadata starts");
        assert!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
        let package = metadata["packages"]
            .as_array()
            .and_then(|packages| packages.iter().find(|package| package["name"] == "leveldb-sys"))
            .expect("leveldb-sys is a dependency of ripstop-ledger");
        let manifest = package["manifest_path"].as_str().expect("a package has a manifest path");
        Path::new(manifest).with_file_name("deps").join("leveldb-1.22")
    }

    fn source_files(root: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = ["db", "table", "util"]
            .iter()
            .flat_map(|folder| std::fs::read_dir(root.join(folder)).expect("LevelDB's sources are there"))
            .map(|entry| entry.expect("a folder can be listed").path())
            .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_library_source))
            .collect();
        files.sort();
        files
    }

    fn is_library_source(name: &str) -> bool {
        const PROGRAMS_AND_TEST_PARTS: [&str; 5] =
            ["db_bench.cc", "leveldbutil.cc", "testharness.cc", "testutil.cc", "histogram.cc"];
        name.ends_with(".cc")
            && !name.ends_with("_test.cc")
            && !name.contains("windows")
            && !PROGRAMS_AND_TEST_PARTS.contains(&name)
    }

    fn variable(name: &str) -> String {
        std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
    }
}
