//! [`Unsynced`]: a folder that does not wait for the disk.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use cinderblock_backend::{Backend, Error, Folder, ForeignName, ObjectInfo, ObjectName, ObjectWriter, Tail};

/// Objects as files, as [`Folder`] has them, written without a sync: sixty thousand packs are made in a minute, and may be lost.
#[derive(Debug)]
pub struct Unsynced {
    path: PathBuf,
    folder: Folder,
}

impl Unsynced {
    /// Opens the folder, and makes it where it is missing.
    ///
    /// # Errors
    /// It can't be made or opened.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), folder: Folder::create(path)? })
    }
}

struct FileWriter(File);

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for FileWriter {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}

impl Backend for Unsynced {
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        let path = self.path.join(name.as_str());
        let failed = |source| Error::from_io("create", name.as_str(), source);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        Ok(Box::new(FileWriter(File::create_new(path).map_err(failed)?)))
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error> {
        self.folder.get(name, limit)
    }

    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.folder.read_into(name, offset, buf)
    }

    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error> {
        self.folder.get_tail(name, len)
    }

    fn size(&self, name: &ObjectName) -> Result<u64, Error> {
        self.folder.size(name)
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error> {
        self.folder.list(prefix, visit)
    }

    fn list_foreign(&self, prefix: &str, visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>) -> Result<(), Error> {
        self.folder.list_foreign(prefix, visit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.folder.delete(name)
    }

    fn settle_delay(&self) -> Duration {
        self.folder.settle_delay()
    }

    fn location(&self) -> String {
        self.folder.location()
    }
}
