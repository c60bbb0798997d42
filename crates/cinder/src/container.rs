//! [`BackendContainers`]: containers as the first part of the names of a [`Backend`]'s objects.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use cinderblock_backend::{Backend, ObjectName};
use jiff::Timestamp;
use serde_json::Value;

use crate::backup::Backup;
use crate::error::Error;
use crate::layout::Layout;
use crate::storage::{ChunkedStorage, ObjectReader, ObjectWriter};

/// How much of an object is read at once, where each request waits for a network: 1 MiB.
const READ_AHEAD: usize = 1 << 20;

/// Makes containers where they do not come with their objects, as folders do: buckets.
pub trait ContainerMaker: Send + Sync + fmt::Debug {
    /// Whether there is a container of this name.
    ///
    /// # Errors
    /// What the storage says.
    fn is_there(&self, container: &str) -> Result<bool, cinderblock_backend::Error>;

    /// Makes a container. That somebody else was faster is no error.
    ///
    /// # Errors
    /// What the storage says.
    fn make(&self, container: &str) -> Result<(), cinderblock_backend::Error>;
}

/// Cinder's containers in a [`Backend`]: the object `o` of container `c` is the backend's object `c/o`. In a
/// [`Folder`](cinderblock_backend::Folder) that is where Cinder's posix driver has it.
#[derive(Debug)]
pub struct BackendContainers<B> {
    backend: B,
    layout: Layout,
    availability_zone: String,
    maker: Option<Arc<dyn ContainerMaker>>,
    writer_bytes: u64,
}

impl<B: Backend> BackendContainers<B> {
    /// Containers in `backend`, named as `layout` says. The zone is part of the names of [`Layout::Swift`].
    pub fn new(backend: B, layout: Layout, availability_zone: impl Into<String>) -> Self {
        Self { backend, layout, availability_zone: availability_zone.into(), maker: None, writer_bytes: 0 }
    }

    /// The same where containers have to be made. Otherwise they come and go with their objects.
    pub fn made_by(self, maker: Arc<dyn ContainerMaker>) -> Self {
        Self { maker: Some(maker), ..self }
    }

    /// The same where an object's writer takes up to so much memory, in bytes. Otherwise it is reckoned with none.
    pub fn with_writer_bytes(self, writer_bytes: u64) -> Self {
        Self { writer_bytes, ..self }
    }

    /// Where the objects are.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Calls `visit` with the names of all that there is, also of what is no object of the backend: Cinder's drivers, which list
    /// a folder or a bucket, see it, too.
    fn entries(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(&str) -> Result<(), cinderblock_backend::Error>,
    ) -> Result<(), cinderblock_backend::Error> {
        self.backend.list(prefix, &mut |object| visit(object.name.as_str()))?;
        self.backend.list_foreign(prefix, &mut |other| visit(&other.to_string()))
    }
}

fn name(container: &str, object_name: &str) -> Result<ObjectName, Error> {
    ObjectName::new(format!("{container}/{object_name}")).map_err(|error| match error {
        cinderblock_backend::Error::InvalidName { name, reason } => {
            Error::InvalidName { what: "the name of an object", text: name, reason: reason.to_owned() }
        }
        error => error.into(),
    })
}

impl<B: Backend> ChunkedStorage for BackendContainers<B> {
    fn put_container(&self, container: &str, create: bool) -> Result<(), Error> {
        name(container, "x")?;
        let missing = || Error::BackupOperation {
            reason: format!("the container {container} is missing, and making containers is switched off"),
        };
        if let Some(maker) = &self.maker {
            return match maker.is_there(container)? {
                true => Ok(()),
                false if create => Ok(maker.make(container)?),
                false => Err(missing()),
            };
        }
        if create {
            return Ok(());
        }
        let mut found = false;
        let listed = self.entries(&format!("{container}/"), &mut |_| {
            found = true;
            Err(cinderblock_backend::Error::Stopped)
        });
        match listed {
            _ if found => Ok(()),
            Ok(()) => Err(missing()),
            Err(error) => Err(error.into()),
        }
    }

    fn get_container_entries(
        &self,
        container: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let folder = format!("{container}/");
        let mut failure = None;
        let listed = self.entries(&format!("{folder}{prefix}"), &mut |name| {
            let Some(object_name) = name.strip_prefix(&folder) else { return Ok(()) };
            visit(object_name).map_err(|error| {
                failure = Some(error);
                cinderblock_backend::Error::Stopped
            })
        });
        match failure {
            Some(error) => Err(error),
            None => Ok(listed?),
        }
    }

    fn get_object_writer<'a>(
        &'a self,
        container: &str,
        object_name: &str,
        _extra_metadata: Option<&Value>,
    ) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        Ok(self.backend.create(&name(container, object_name)?)?)
    }

    fn get_object_reader<'a>(
        &'a self,
        container: &str,
        object_name: &str,
        extra_metadata: Option<&Value>,
    ) -> Result<ObjectReader<'a>, Error> {
        self.get_object_reader_at(container, object_name, extra_metadata, 0)
    }

    fn get_object_reader_at<'a>(
        &'a self,
        container: &str,
        object_name: &str,
        _extra_metadata: Option<&Value>,
        offset: u64,
    ) -> Result<ObjectReader<'a>, Error> {
        let name = name(container, object_name)?;
        let size = self.backend.size(&name)?;
        let ahead = if self.backend.requests_in_flight() > 1 { READ_AHEAD } else { 0 };
        Ok(Box::new(BackendReader::new(&self.backend, name, (offset, size), ahead)))
    }

    fn object_size(&self, container: &str, object_name: &str) -> Result<u64, Error> {
        Ok(self.backend.size(&name(container, object_name)?)?)
    }

    fn delete_object(&self, container: &str, object_name: &str) -> Result<(), Error> {
        Ok(self.backend.discard(&name(container, object_name)?)?)
    }

    fn generate_object_name_prefix(&self, backup: &Backup) -> Result<String, Error> {
        let timestamp = Timestamp::now().strftime("%Y%m%d%H%M%S").to_string();
        Ok(self.layout.object_name_prefix(backup, &timestamp, &self.availability_zone))
    }

    fn update_container_name(&self, backup: &Backup, container: Option<&str>) -> Result<Option<String>, Error> {
        self.layout.container(backup, container)
    }

    fn writer_bytes(&self) -> u64 {
        self.writer_bytes
    }
}

/// Reads an object in order. Without reading ahead each read is one request, so that nothing is copied: who wants few bytes at a time
/// puts a buffer around it.
struct BackendReader<'b, B> {
    backend: &'b B,
    name: ObjectName,
    size: u64,
    /// Where the bytes that were not asked for yet begin.
    offset: u64,
    /// How many bytes a request asks for at least, as far as there are so many.
    ahead: usize,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were handed over.
    used: usize,
}

impl<'b, B: Backend> BackendReader<'b, B> {
    fn new(backend: &'b B, name: ObjectName, (offset, size): (u64, u64), ahead: usize) -> Self {
        Self { backend, name, size, offset: offset.min(size), ahead, buffer: Vec::new(), used: 0 }
    }

    /// Fills a part of `into`, at most as much as is left of the object.
    fn request(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX);
        let length = left.min(into.len());
        let into = into.get_mut(..length).unwrap_or_default();
        if length > 0 {
            self.backend.read_into(&self.name, self.offset, into).map_err(io::Error::other)?;
        }
        self.offset += length as u64;
        Ok(length)
    }

    fn fill_buffer(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX);
        buffer.resize(left.min(self.ahead), 0);
        self.request(&mut buffer)?;
        (self.buffer, self.used) = (buffer, 0);
        Ok(())
    }
}

impl<B: Backend> Read for BackendReader<'_, B> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.used == self.buffer.len() {
            if into.len() >= self.ahead {
                return self.request(into);
            }
            self.fill_buffer()?;
        }
        let mut ready = self.buffer.get(self.used..).unwrap_or_default();
        let length = ready.read(into)?;
        self.used += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use cinderblock_backend::{Kind, Memory, Recording};

    use super::*;

    fn reading(ahead: usize, pieces: &[usize], offset: u64) -> (Vec<u8>, u64) {
        let backend = Recording::new(Memory::new());
        let object = name("c", "o").unwrap();
        let bytes: Vec<u8> = (0..1000u32).map(|n| (n % 251) as u8).collect();
        backend.put(&object, &[&bytes]).unwrap();
        let mut reader = BackendReader::new(&backend, object, (offset, 1000), ahead);
        let mut read = Vec::new();
        for piece in pieces.iter().cycle() {
            let mut part = vec![0; *piece];
            match reader.read(&mut part).unwrap() {
                0 => break,
                length => read.extend_from_slice(&part[..length]),
            }
        }
        assert!(read == bytes[offset as usize..]);
        let count = backend.tally(Kind::ReadInto).calls;
        (read, count)
    }

    #[test]
    fn reading_ahead_gives_the_same_bytes_with_fewer_requests() {
        for offset in [0, 1, 999, 1000] {
            for pieces in [&[1][..], &[7, 100], &[1000], &[99, 300, 1]] {
                reading(0, pieces, offset);
                reading(100, pieces, offset);
                reading(5000, pieces, offset);
            }
        }
        assert_eq!(reading(0, &[10], 0).1, 100);
        assert_eq!(reading(100, &[10], 0).1, 10);
        assert_eq!(reading(5000, &[10], 0).1, 1);
        // What is larger than that is read as it is wanted, without a copy.
        assert_eq!(reading(100, &[500], 0).1, 2);
    }
}
