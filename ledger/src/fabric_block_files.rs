//! Block files as a Fabric peer lays them out: one record after the other, in files of bounded
//! size. A chain leaves this ledger in them; what a ledger stores itself is `block_store`'s.
//! What a record looks like is told in `ripstop_proto::block_file`.
//! Source: Fabric `common/ledger/blkstorage/blockfile_mgr.go`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ripstop_proto::block_file::encode;
use ripstop_proto::common::Block;

use crate::files::{File, FileError, Files};

/// A Fabric peer begins another file before one grows beyond this size
/// (`core/ledger/kvledger/kv_ledger_provider.go`).
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Records are gathered up to about this size before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// The block files of one chain in a folder: `blockfile_000000` and on.
pub struct FabricBlockFiles {
    files: Arc<dyn Files>,
    folder: PathBuf,
    file_bytes_max: u64,
    count: u32,
    newest: Option<Arc<dyn File>>,
    /// Bytes of the newest file, those gathered included.
    newest_bytes: u64,
    gathered: Vec<u8>,
}

impl FabricBlockFiles {
    /// Begins a chain in `folder`, which is made if missing and holds no block files yet.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn create(files: Arc<dyn Files>, folder: impl AsRef<Path>) -> Result<Self, FileError> {
        let folder = folder.as_ref().to_owned();
        files.create_folder(&folder)?;
        Ok(Self {
            files,
            folder,
            file_bytes_max: FILE_BYTES_MAX,
            count: 0,
            newest: None,
            newest_bytes: 0,
            gathered: Vec::new(),
        })
    }

    /// Adds the next block of the chain.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn append(&mut self, block: &Block) -> Result<(), FileError> {
        let record = encode(block);
        let record_bytes = record.len() as u64;
        if self.newest.is_none() || (self.newest_bytes > 0 && self.newest_bytes + record_bytes > self.file_bytes_max) {
            self.begin_file()?;
        }
        self.newest_bytes += record_bytes;
        self.gathered.extend_from_slice(&record);
        match self.gathered.len() < WRITE_BYTES {
            true => Ok(()),
            false => self.write_gathered(),
        }
    }

    /// Makes all files durable. Returns how many there are.
    ///
    /// # Errors
    /// When a file cannot be written or synced.
    pub fn finish(mut self) -> Result<u32, FileError> {
        self.end_file()?;
        self.files.sync_folder(&self.folder)?;
        Ok(self.count)
    }

    fn begin_file(&mut self) -> Result<(), FileError> {
        self.end_file()?;
        self.newest = Some(self.files.open(&self.folder.join(format!("blockfile_{:06}", self.count)))?);
        self.newest_bytes = 0;
        self.count += 1;
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), FileError> {
        self.write_gathered()?;
        self.newest.take().map_or(Ok(()), |file| file.sync())
    }

    fn write_gathered(&mut self) -> Result<(), FileError> {
        if let Some(file) = &self.newest {
            file.append(&self.gathered)?;
        }
        self.gathered.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ripstop_proto::block_file::BlockFile;
    use ripstop_proto::common::{BlockData, BlockHeader, BlockMetadata};

    use super::*;
    use crate::files::MemoryFiles;

    fn block(number: u64) -> Block {
        let header = BlockHeader { number, ..BlockHeader::default() };
        let data = BlockData { data: vec![Bytes::from_static(b"entry")] };
        Block { header: Some(header), data: Some(data), metadata: Some(BlockMetadata::default()) }
    }

    #[test]
    fn a_file_that_would_grow_too_large_is_followed_by_another() {
        let files: Arc<dyn Files> = Arc::new(MemoryFiles::new());
        let blocks: Vec<Block> = (0..5).map(block).collect();
        let record_bytes = encode(&blocks[0]).len() as u64;
        let mut written = FabricBlockFiles::create(Arc::clone(&files), "chain").unwrap();
        written.file_bytes_max = 2 * record_bytes;
        blocks.iter().for_each(|block| written.append(block).unwrap());
        assert_eq!(written.finish().unwrap(), 3);
        let names = files.list("chain".as_ref()).unwrap();
        assert_eq!(names, ["blockfile_000000", "blockfile_000001", "blockfile_000002"]);
        let mut read = Vec::new();
        for (name, records) in names.iter().zip([2, 2, 1]) {
            let file = files.open(&Path::new("chain").join(name)).unwrap();
            let bytes = file.read_at(0, 1 << 20).unwrap();
            assert_eq!(bytes.len() as u64, records * record_bytes);
            read.extend(BlockFile::new(&bytes[..]).map(Result::unwrap));
        }
        assert_eq!(read, blocks);
    }

    #[test]
    fn a_block_that_is_larger_than_a_file_has_one_for_itself() {
        let files: Arc<dyn Files> = Arc::new(MemoryFiles::new());
        let mut written = FabricBlockFiles::create(Arc::clone(&files), "chain").unwrap();
        written.file_bytes_max = 10;
        (0..2).for_each(|number| written.append(&block(number)).unwrap());
        assert_eq!(written.finish().unwrap(), 2);
    }
}
