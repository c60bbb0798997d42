//! [`Memory`]: objects in the memory of this process.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::{Backend, Error, ForeignName, ObjectInfo, ObjectName, ObjectWriter, Tail};

/// How many objects a listing takes out under one lock.
const LIST_BATCH: usize = 1000;

/// Objects in the memory of this process: for tests, and for repositories that need not outlive it.
///
/// It behaves as [`Folder`](crate::Folder) does, down to [`Error::Obstructed`]; "durable" means until it is
/// dropped. It takes the memory of the objects' bytes. Share it between several users with an [`Arc`], which is a backend,
/// too.
///
/// ```
/// use cinderblock_backend::{Backend, Memory, ObjectName};
///
/// let memory = Memory::new();
/// let name = ObjectName::new("index/0001")?;
/// memory.put(&name, &[b"one ", b"object"])?;
/// assert_eq!(memory.get_tail(&name, 6)?.bytes, b"object");
/// # Ok::<(), cinderblock_backend::Error>(())
/// ```
#[derive(Default)]
pub struct Memory {
    objects: RwLock<Objects>,
}

type Objects = BTreeMap<ObjectName, Arc<[u8]>>;

impl Memory {
    /// An empty store.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// A store of its own with the objects that are here now. Both share the memory of their bytes.
    pub fn snapshot(&self) -> Memory {
        Memory { objects: RwLock::new(self.objects().clone()) }
    }

    /// Makes the object have these bytes, or not be there, whatever there was.
    pub(crate) fn set(&self, name: &ObjectName, bytes: Option<Arc<[u8]>>) {
        let mut objects = self.objects_mut();
        match bytes {
            Some(bytes) => objects.insert(name.clone(), bytes),
            None => objects.remove(name),
        };
    }

    fn objects(&self) -> RwLockReadGuard<'_, Objects> {
        // A change is one call of the map, so what a panicking thread leaves behind is whole.
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects_mut(&self) -> RwLockWriteGuard<'_, Objects> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, name: &ObjectName) -> Result<Arc<[u8]>, Error> {
        self.objects().get(name).cloned().ok_or_else(|| Error::NotFound { name: name.clone() })
    }

    pub(crate) fn insert(&self, name: ObjectName, bytes: Arc<[u8]>) -> Result<(), Error> {
        let mut objects = self.objects_mut();
        if objects.contains_key(&name) {
            return Err(Error::AlreadyExists { name });
        }
        if let Some(obstacle) = obstacle(&objects, &name) {
            return Err(Error::Obstructed { name, obstacle });
        }
        objects.insert(name, bytes);
        Ok(())
    }
}

/// The object that would have to be a folder for `name`, or the one for which `name` is a folder.
fn obstacle(objects: &Objects, name: &ObjectName) -> Option<String> {
    let path = name.as_str();
    let mut ancestors = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
    if let Some(ancestor) = ancestors.find(|ancestor| objects.contains_key(*ancestor)) {
        return Some(ancestor.to_owned());
    }
    let as_folder = format!("{path}/");
    let mut from = objects.range::<str, _>((Bound::Included(as_folder.as_str()), Bound::Unbounded));
    from.next().filter(|(below, _)| below.as_str().starts_with(&as_folder)).map(|(below, _)| below.to_string())
}

struct MemoryWriter<'a> {
    memory: &'a Memory,
    name: ObjectName,
    bytes: Vec<u8>,
}

impl Write for MemoryWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.try_reserve(bytes.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for MemoryWriter<'_> {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        self.memory.insert(self.name, self.bytes.into())
    }
}

impl Backend for Memory {
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        Ok(Box::new(MemoryWriter { memory: self, name: name.clone(), bytes: Vec::new() }))
    }

    fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), Error> {
        self.insert(name.clone(), parts.concat().into())
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error> {
        let bytes = self.object(name)?;
        let size = bytes.len() as u64;
        if size > limit {
            return Err(Error::TooLarge { name: name.clone(), size, limit });
        }
        Ok(bytes.to_vec())
    }

    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let bytes = self.object(name)?;
        let range = usize::try_from(offset).ok().and_then(|start| bytes.get(start..start.checked_add(buf.len())?));
        let Some(range) = range else {
            let (wanted, size) = (buf.len() as u64, bytes.len() as u64);
            return Err(Error::UnexpectedEnd { name: name.clone(), offset, wanted, size });
        };
        buf.copy_from_slice(range);
        Ok(())
    }

    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error> {
        let object = self.object(name)?;
        let bytes = object[object.len().saturating_sub(len)..].to_vec();
        Ok(Tail { bytes, object_size: object.len() as u64 })
    }

    fn size(&self, name: &ObjectName) -> Result<u64, Error> {
        Ok(self.object(name)?.len() as u64)
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error> {
        let mut last: Option<ObjectName> = None;
        loop {
            let from = last.as_ref().map_or(Bound::Included(prefix), |last| Bound::Excluded(last.as_str()));
            // The lock is not held while `visit` runs: it may change the store.
            let batch: Vec<ObjectInfo> = self
                .objects()
                .range::<str, _>((from, Bound::Unbounded))
                .take_while(|(name, _)| name.as_str().starts_with(prefix))
                .take(LIST_BATCH)
                .map(|(name, bytes)| ObjectInfo { name: name.clone(), size: bytes.len() as u64 })
                .collect();
            let Some(info) = batch.last() else { return Ok(()) };
            last = Some(info.name.clone());
            batch.into_iter().try_for_each(&mut *visit)?;
        }
    }

    /// Nothing but objects can be put into memory.
    fn list_foreign(
        &self,
        _prefix: &str,
        _visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let removed = self.objects_mut().remove(name);
        removed.map(drop).ok_or_else(|| Error::NotFound { name: name.clone() })
    }

    fn settle_delay(&self) -> Duration {
        Duration::ZERO
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("objects", &self.objects().len()).finish()
    }
}
