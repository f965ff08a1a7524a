//! Chaincode packages: a gzipped tar that names a label, a type and the code.
//!
//! ```text
//! metadata.json   {"type": "ccaas", "label": "basic_1.0", "path": ""}
//! code.tar.gz     for type ccaas: connection.json
//! ```
//! A package comes from outside and is measured while it unpacks. Its id is
//! `label:hex(SHA-256 of the whole file)`, so equal bytes have equal ids everywhere.
//! Source: Fabric `core/chaincode/persistence/chaincode_package.go`.

use std::io::Read;

use flate2::read::GzDecoder;
use ripstop_proto::hash::sha256;
use serde::Deserialize;

/// The largest package that is unpacked, in bytes after the outer gzip.
pub const UNPACKED_BYTES_MAX: u64 = 256 << 20;
/// The largest metadata.json and connection.json, in bytes.
pub const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

const METADATA: &str = "metadata.json";
const CODE: &str = "code.tar.gz";
const CONNECTION: &str = "connection.json";

/// Why a package is refused. The texts are Fabric's where tools may match on them.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Not a gzipped tar, cut short, or larger than a limit.
    #[error("error inspecting the package as a gzipped tar: {0}")]
    Unreadable(#[from] std::io::Error),
    /// A folder, link or device.
    #[error("tar entry {0} is not a regular file")]
    NotRegular(String),
    /// A document inside is too large to be what it should be.
    #[error("{name} is larger than {limit} bytes")]
    TooLarge {
        /// The entry.
        name: &'static str,
        /// What is allowed.
        limit: u64,
    },
    /// metadata.json is not the document it should be.
    #[error("could not unmarshal {METADATA} as json: {0}")]
    Metadata(serde_json::Error),
    /// No code.tar.gz.
    #[error("did not find a code package inside the package")]
    NoCode,
    /// No metadata.json.
    #[error("did not find any package metadata (missing {METADATA})")]
    NoMetadata,
    /// The label would not fit into package ids.
    #[error(
        "invalid label '{0}'. Label must be non-empty, can only consist of alphanumerics, symbols from '.+-_', and can only begin with alphanumerics"
    )]
    Label(String),
    /// A ccaas package without its connection.json.
    #[error("{CONNECTION} not found in {CODE} of the ccaas package: it must hold the address of the chaincode server")]
    NoConnection,
}

/// What metadata.json says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// How the code is run: `ccaas`, or a language.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where the code came from; not used.
    pub path: String,
    /// Free name, part of the package id.
    pub label: String,
}

/// A package that was read and found in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// What metadata.json says.
    pub metadata: Metadata,
    /// The inner archive as it stands in the package.
    pub code: Vec<u8>,
}

impl Package {
    /// Reads the bytes of a package file.
    ///
    /// # Errors
    /// When a part is missing, malformed, or larger than its limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, PackageError> {
        let mut archive = unpack(bytes);
        let (mut metadata, mut code) = (None, None);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if !entry.header().entry_type().is_file() {
                return Err(PackageError::NotRegular(name));
            }
            match name.as_str() {
                METADATA => metadata = Some(read_metadata(&mut entry)?),
                CODE => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes)?;
                    code = Some(bytes);
                }
                _ => tracing::warn!(entry = name, "the chaincode package holds a file that is not used"),
            }
        }
        let code = code.ok_or(PackageError::NoCode)?;
        let metadata = metadata.ok_or(PackageError::NoMetadata)?;
        check_label(&metadata.label)?;
        Ok(Self { metadata, code })
    }

    /// Whether the contract runs as a server of its own that this peer dials.
    pub fn is_service(&self) -> bool {
        self.metadata.kind.eq_ignore_ascii_case("ccaas")
    }

    /// The connection.json of a ccaas package.
    ///
    /// # Errors
    /// When the inner archive does not hold it, is malformed, or larger than its limit.
    pub fn connection_document(&self) -> Result<Vec<u8>, PackageError> {
        for entry in unpack(&self.code).entries()? {
            let mut entry = entry?;
            let path = entry.path_bytes().into_owned();
            let name = path.strip_prefix(b"./").unwrap_or(&path);
            if name == CONNECTION.as_bytes() && entry.header().entry_type().is_file() {
                return read_document(CONNECTION, &mut entry);
            }
        }
        Err(PackageError::NoConnection)
    }
}

/// The id of a package: label and hash of the file.
pub fn package_id(label: &str, bytes: &[u8]) -> String {
    format!("{label}:{}", hex::encode(sha256(&[bytes])))
}

/// Whether `label` may stand in a package id and in a file name.
pub(crate) fn check_label(label: &str) -> Result<(), PackageError> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_.+-".contains(character);
    if label.starts_with(|first: char| first.is_ascii_alphanumeric()) && label.chars().all(allowed) {
        return Ok(());
    }
    Err(PackageError::Label(label.to_owned()))
}

fn unpack(bytes: &[u8]) -> tar::Archive<Measured<GzDecoder<&[u8]>>> {
    tar::Archive::new(Measured { inner: GzDecoder::new(bytes), left: UNPACKED_BYTES_MAX })
}

fn read_metadata(entry: &mut impl Read) -> Result<Metadata, PackageError> {
    let document = read_document(METADATA, entry)?;
    serde_json::from_slice(&document).map_err(PackageError::Metadata)
}

fn read_document(name: &'static str, entry: &mut impl Read) -> Result<Vec<u8>, PackageError> {
    let mut document = Vec::new();
    entry.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut document)?;
    if document.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(PackageError::TooLarge { name, limit: DOCUMENT_BYTES_MAX });
    }
    Ok(document)
}

/// A reader that refuses to give more than it was set to.
struct Measured<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            std::io::Error::other(format!("the package unpacks to more than {UNPACKED_BYTES_MAX} bytes"))
        })?;
        Ok(count)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    pub(crate) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn service(label: &str) -> Vec<u8> {
        let code = archive(&[("connection.json", br#"{"address":"localhost:9999"}"#)]);
        let metadata = format!(r#"{{"type":"ccaas","label":"{label}"}}"#);
        archive(&[("metadata.json", metadata.as_bytes()), ("code.tar.gz", &code)])
    }

    #[test]
    fn a_service_package_gives_its_label_and_address() {
        let bytes = service("basic_1.0");
        let package = Package::parse(&bytes).unwrap();
        assert_eq!(package.metadata.label, "basic_1.0");
        assert!(package.is_service());
        assert_eq!(package.connection_document().unwrap(), br#"{"address":"localhost:9999"}"#);
        let id = package_id("basic_1.0", &bytes);
        assert_eq!(id.len(), "basic_1.0:".len() + 64);
    }

    #[test]
    fn labels_that_could_leave_the_folder_are_refused() {
        for label in ["", "../up", ".hidden", "a/b", "a:b", "-x"] {
            assert!(matches!(Package::parse(&service(label)), Err(PackageError::Label(_))), "{label}");
        }
        for label in ["a", "A1_.+-b"] {
            Package::parse(&service(label)).unwrap();
        }
    }

    #[test]
    fn a_package_that_unpacks_beyond_the_limit_is_refused_while_reading() {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(UNPACKED_BYTES_MAX);
        let zeros = std::io::repeat(0).take(UNPACKED_BYTES_MAX);
        builder.append_data(&mut header, "code.tar.gz", zeros).unwrap();
        let bomb = builder.into_inner().unwrap().finish().unwrap();
        assert!(bomb.len() < 4 << 20);
        let refused = Package::parse(&bomb).unwrap_err();
        assert!(refused.to_string().contains("unpacks to more than"), "{refused}");
    }

    #[test]
    fn missing_parts_and_links_are_named() {
        assert!(matches!(Package::parse(b"not gzip"), Err(PackageError::Unreadable(_))));
        assert!(matches!(Package::parse(&archive(&[("metadata.json", b"{}")])), Err(PackageError::NoCode)));
        assert!(matches!(Package::parse(&archive(&[("code.tar.gz", b"x")])), Err(PackageError::NoMetadata)));
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "metadata.json", "/etc/passwd").unwrap();
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        assert!(matches!(Package::parse(&bytes), Err(PackageError::NotRegular(_))));
    }

    #[test]
    fn a_cut_package_is_refused() {
        let bytes = service("basic");
        for length in 0..bytes.len() - 8 {
            let _ = Package::parse(&bytes[..length]);
        }
        assert!(Package::parse(&bytes[..bytes.len() / 2]).is_err());
    }
}
