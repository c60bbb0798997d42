//! [`ChunkedStorage`]: what a storage implements so that the chunked driver can keep backups in it.

use std::io::Read;

use serde_json::Value;

use crate::backup::Backup;
use crate::error::Error;

/// An object that is being written; dropped before [`finish`](cinderblock_backend::ObjectWriter::finish), it is not there.
pub use cinderblock_backend::ObjectWriter;

/// An object that is being read from its start to its end.
pub type ObjectReader<'a> = Box<dyn Read + Send + 'a>;

/// The part of Cinder's `ChunkedBackupDriver` that each storage implements (its abstract methods). All methods may be called
/// from many threads at once.
pub trait ChunkedStorage: Send + Sync + std::fmt::Debug {
    /// Makes a container where it is missing. Unless `create`, a missing one is an error
    /// (Cinder's option `backup_create_containers`).
    ///
    /// # Errors
    /// What the storage says. That the container is there already is no error.
    fn put_container(&self, container: &str, create: bool) -> Result<(), Error>;

    /// Calls `visit` with the name of every object of the container that begins with `prefix`, in no particular order; and with
    /// that of anything else there that Cinder would see, if only as readable text: it may be that of no object which could be read.
    ///
    /// # Errors
    /// What the storage says, or what `visit` returns. A container that is missing has no entries.
    fn get_container_entries(
        &self,
        container: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str) -> Result<(), Error>,
    ) -> Result<(), Error>;

    /// Begins an object. It becomes visible, whole and durable, when the writer is finished.
    ///
    /// # Errors
    /// What the storage says; an object of that name is never overwritten.
    fn get_object_writer<'a>(
        &'a self,
        container: &str,
        object_name: &str,
        extra_metadata: Option<&Value>,
    ) -> Result<Box<dyn ObjectWriter + 'a>, Error>;

    /// Opens an object, to read it from its start.
    ///
    /// # Errors
    /// [`Error::Backend`] with "not found" where there is none.
    fn get_object_reader<'a>(
        &'a self,
        container: &str,
        object_name: &str,
        extra_metadata: Option<&Value>,
    ) -> Result<ObjectReader<'a>, Error>;

    /// Opens an object, to read it from byte `offset` on. Unless a storage can do better, what is before it is read, too.
    ///
    /// # Errors
    /// [`Error::Backend`] with "not found" where there is none; [`Error::ReadObject`]. An object that ends before has no bytes.
    fn get_object_reader_at<'a>(
        &'a self,
        container: &str,
        object_name: &str,
        extra_metadata: Option<&Value>,
        offset: u64,
    ) -> Result<ObjectReader<'a>, Error> {
        let mut reader = self.get_object_reader(container, object_name, extra_metadata)?;
        std::io::copy(&mut (&mut reader).take(offset), &mut std::io::sink())
            .map_err(|source| Error::ReadObject { object: object_name.to_owned(), source })?;
        Ok(reader)
    }

    /// Size of an object in bytes.
    ///
    /// # Errors
    /// [`Error::Backend`] with "not found" where there is none.
    fn object_size(&self, container: &str, object_name: &str) -> Result<u64, Error>;

    /// Removes an object. That it is missing is no error.
    ///
    /// # Errors
    /// What the storage says.
    fn delete_object(&self, container: &str, object_name: &str) -> Result<(), Error>;

    /// What the names of all objects of a new backup begin with. No two backups of a container may share one, nor may one be the
    /// beginning of another.
    ///
    /// # Errors
    /// [`Error::InvalidName`].
    fn generate_object_name_prefix(&self, backup: &Backup) -> Result<String, Error>;

    /// The container that a new backup is to use; none to leave it as it is.
    ///
    /// # Errors
    /// [`Error::InvalidName`].
    fn update_container_name(&self, backup: &Backup, container: Option<&str>) -> Result<Option<String>, Error>;

    /// The most memory that an object's writer takes, in bytes: as many objects are written at once as the memory that is
    /// allowed has room for. Zero where it takes next to none.
    fn writer_bytes(&self) -> u64 {
        0
    }

    /// Facts to keep in a backup's metadata, which then accompany its objects' readers and writers. None of Cinder's own
    /// storages has any.
    fn get_extra_metadata(&self, backup: &Backup) -> Option<Value> {
        let _ = backup;
        None
    }
}
