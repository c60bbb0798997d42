//! [`BackendContainers`]: containers as the first part of the names of a [`Backend`]'s objects.

use std::io::{self, Read};

use cinderblock_backend::{Backend, ObjectName};
use jiff::Timestamp;
use serde_json::Value;

use crate::backup::Backup;
use crate::error::Error;
use crate::layout::Layout;
use crate::storage::{ChunkedStorage, ObjectReader, ObjectWriter};

/// Cinder's containers in a [`Backend`]: the object `o` of container `c` is the backend's object `c/o`. In a
/// [`Folder`](cinderblock_backend::Folder) that is where Cinder's posix driver has it.
#[derive(Debug)]
pub struct BackendContainers<B> {
    backend: B,
    layout: Layout,
    availability_zone: String,
}

impl<B: Backend> BackendContainers<B> {
    /// Containers in `backend`, named as `layout` says. The zone is part of the names of [`Layout::Swift`].
    pub fn new(backend: B, layout: Layout, availability_zone: impl Into<String>) -> Self {
        Self { backend, layout, availability_zone: availability_zone.into() }
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
    /// Containers come and go with their objects: there is nothing to make.
    fn put_container(&self, container: &str, create: bool) -> Result<(), Error> {
        name(container, "x")?;
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
            Ok(()) => Err(Error::BackupOperation {
                reason: format!("the container {container} is missing, and making containers is switched off"),
            }),
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
        Ok(Box::new(BackendReader { backend: &self.backend, name, size, offset: offset.min(size) }))
    }

    fn object_size(&self, container: &str, object_name: &str) -> Result<u64, Error> {
        Ok(self.backend.size(&name(container, object_name)?)?)
    }

    fn delete_object(&self, container: &str, object_name: &str) -> Result<(), Error> {
        match self.backend.delete(&name(container, object_name)?) {
            Err(error) if error.is_not_found() => Ok(()),
            other => Ok(other?),
        }
    }

    fn generate_object_name_prefix(&self, backup: &Backup) -> Result<String, Error> {
        let timestamp = Timestamp::now().strftime("%Y%m%d%H%M%S").to_string();
        Ok(self.layout.object_name_prefix(backup, &timestamp, &self.availability_zone))
    }

    fn update_container_name(&self, backup: &Backup, container: Option<&str>) -> Result<Option<String>, Error> {
        self.layout.container(backup, container)
    }
}

/// Reads an object in order: each read is one request, so that nothing is copied. Who wants few bytes at a time puts a buffer around it.
struct BackendReader<'b, B> {
    backend: &'b B,
    name: ObjectName,
    size: u64,
    /// Where the bytes that were not read yet begin.
    offset: u64,
}

impl<B: Backend> Read for BackendReader<'_, B> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX);
        let length = left.min(into.len());
        let into = into.get_mut(..length).unwrap_or_default();
        if length > 0 {
            self.backend.read_into(&self.name, self.offset, into).map_err(io::Error::other)?;
        }
        self.offset += length as u64;
        Ok(length)
    }
}
