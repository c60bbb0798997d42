//! [`Bucket`]: a backend on any `object_store`.

mod fault;
mod listing;
mod reading;
mod single_file;
mod writer;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cinderblock_backend::{Backend, Error, ForeignName, ObjectInfo, ObjectName, ObjectWriter, Tail};
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, SemaphorePermit};

use self::fault::Fault;
pub(crate) use self::fault::Words;
use self::single_file::SingleFile;
use self::writer::BucketWriter;
pub(crate) use self::writer::WRITER_BYTES;
use crate::retry::{Contact, Tries};
use crate::{Settings, runtime};

/// The pieces in which an object's bytes are handed over: contiguous memory is easier found for them than for a whole pack.
const PIECE: usize = 1024 * 1024;

/// Objects in a bucket or container of a service, under keys that begin with a prefix.
///
/// An object is created by one conditional request (`If-None-Match: *`), so that of several writers one succeeds, whatever host
/// they are on. Where such a request got no answer and is sent again, it may find its own object: equal bytes under the name
/// are taken for success then, and only then.
///
/// **What is not atomic.** An object of more than 8 MiB that is written through [`create`](Backend::create) is put together of
/// parts, and no service compares names at their end: whether the name is taken is looked up right before. Of two writers that end
/// such an object in the same moment, the later replaces the earlier one's. [`put`](Backend::put) has no such limit, and a
/// repository's objects are all put. [`delete`](Backend::delete) looks whether the object is there, as the services report
/// success either way; of the threads of one process one is told so, of several processes more may be.
///
/// Methods may be called from any thread. They block it until the answer is there; all connections of the process are
/// driven by two threads.
pub struct Bucket {
    stores: Stores,
    /// What all keys begin with; empty, or with a slash at its end.
    prefix: String,
    location: String,
    words: Words,
    settings: Settings,
    permits: Semaphore,
    deleting: SingleFile,
    runtime: &'static Runtime,
}

/// One service, by the clients that speak to it.
pub(crate) struct Stores {
    /// It sends each request once: whoever uses it has to know whether an attempt before may have had its effect.
    pub(crate) once: Arc<dyn ObjectStore>,
    /// It repeats what fails for passing reasons: for the parts of large objects.
    pub(crate) patient: Arc<dyn ObjectStore>,
    /// It lists by any prefix, page by page.
    pub(crate) pages: Option<Arc<dyn PaginatedListStore>>,
    /// Whether its pages leave out the key that is the prefix itself.
    pub(crate) omits_prefix: bool,
    /// Whether it has answered anything.
    pub(crate) contact: Contact,
}

impl Bucket {
    /// A backend on any store, with keys that begin with `prefix` and a slash (or with nothing, where it is empty).
    /// `location` is for messages.
    ///
    /// The store should not repeat requests by itself: an object that it created at a first attempt, whose answer was
    /// lost, would be reported as somebody else's. It should list keys as they are; those that its paths can't hold make
    /// listings fail.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Runtime`] if the threads that drive connections can't be started.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        location: impl Into<String>,
        settings: &Settings,
    ) -> Result<Bucket, crate::Error> {
        let contact = Contact::default();
        // What answers is known to whoever made the store.
        contact.made();
        let stores = Stores { once: Arc::clone(&store), patient: store, pages: None, omits_prefix: false, contact };
        Bucket::on(stores, prefix, location.into(), Words::default(), settings)
    }

    pub(crate) fn on(
        stores: Stores,
        prefix: &str,
        location: String,
        words: Words,
        settings: &Settings,
    ) -> Result<Bucket, crate::Error> {
        let runtime = runtime::shared().map_err(|source| crate::Error::Runtime { source })?;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let permits = Semaphore::new(settings.requests_in_flight.clamp(1, Semaphore::MAX_PERMITS));
        let (settings, deleting) = (settings.clone(), SingleFile::default());
        Ok(Bucket { stores, prefix, location, words, settings, permits, deleting, runtime })
    }

    fn wait<F>(&self, future: F) -> F::Output
    where
        F: Future + Send,
        F::Output: Send,
    {
        runtime::wait(self.runtime, future)
    }

    /// Waits for a turn to send a request.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Fault> {
        // It is never closed.
        self.permits.acquire().await.map_err(|_| Fault::Broken("the bound on requests is gone"))
    }

    /// The service has answered somebody else.
    pub(crate) fn has_answered(&self) {
        self.stores.contact.made();
    }

    /// Before the first attempt at an operation.
    pub(crate) fn tries(&self) -> Tries {
        Tries::begin(&self.settings, &self.stores.contact)
    }

    fn path(&self, name: &ObjectName) -> Result<Path, Fault> {
        // Both halves have only characters that a path leaves as they are.
        Path::parse(format!("{}{name}", self.prefix)).map_err(|error| Fault::Store(error.into()))
    }

    /// The error for a failed `operation` (a verb) on an object.
    fn failed(&self, operation: &'static str, name: &ObjectName, fault: Fault) -> Error {
        fault.into_error(operation, Some(name), &self.location, &self.words)
    }

    async fn head(&self, name: &ObjectName) -> Result<u64, Fault> {
        Ok(self.head_meta(name).await?.size)
    }

    async fn head_meta(&self, name: &ObjectName) -> Result<ObjectMeta, Fault> {
        let path = self.path(name)?;
        let mut tries = self.tries();
        loop {
            let answer = {
                let _turn = self.turn().await?;
                self.stores.once.head(&path).await
            };
            match answer {
                Ok(meta) => return Ok(meta),
                Err(error) => tries.again(Fault::from(error)).await?,
            }
        }
    }

    async fn put_pieces(&self, name: &ObjectName, pieces: Vec<Bytes>) -> Result<(), Fault> {
        let path = self.path(name)?;
        let payload = PutPayload::from_iter(pieces);
        let options = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        // Whether an earlier attempt may have created the object.
        let mut in_doubt = false;
        let mut tries = self.tries();
        loop {
            let answer = {
                let _turn = self.turn().await?;
                self.stores.once.put_opts(&path, payload.clone(), options()).await
            };
            match answer {
                Ok(_) => return Ok(()),
                Err(error @ StoreError::AlreadyExists { .. }) => {
                    // Looked for before its bytes are: an earlier attempt may come to its end at any moment.
                    match self.head(name).await {
                        Ok(_) if !in_doubt => return Err(error.into()),
                        Ok(_) => {
                            let is_ours = self.has_bytes(name, &payload).await?;
                            return if is_ours { Ok(()) } else { Err(error.into()) };
                        }
                        // Two requests were in each other's way (S3: ConditionalRequestConflict), and the other one failed.
                        Err(fault) if fault.is_not_found() => tries.again(Fault::Conflict(error)).await?,
                        Err(fault) => return Err(fault),
                    }
                }
                Err(error) => {
                    in_doubt = true;
                    tries.again(Fault::from(error)).await?;
                }
            }
        }
    }

    /// Whether the object is there and has these bytes.
    async fn has_bytes(&self, name: &ObjectName, payload: &PutPayload) -> Result<bool, Fault> {
        let size = payload.content_length() as u64;
        match self.fetch(name, size).await {
            Ok(bytes) => {
                let mut rest = bytes.as_slice();
                let is_equal = payload.iter().all(|piece| match rest.strip_prefix(&piece[..]) {
                    Some(after) => {
                        rest = after;
                        true
                    }
                    None => false,
                });
                Ok(is_equal && rest.is_empty())
            }
            Err(Fault::TooLarge { .. }) => Ok(false),
            Err(fault) if fault.is_not_found() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Removes an object, or finds that it is not there where the service says so.
    async fn remove(&self, name: &ObjectName) -> Result<(), Fault> {
        let path = self.path(name)?;
        let mut is_first = true;
        let mut tries = self.tries();
        loop {
            let answer = {
                let _turn = self.turn().await?;
                self.stores.once.delete(&path).await
            };
            match answer {
                Ok(()) => return Ok(()),
                // An earlier attempt has removed it.
                Err(StoreError::NotFound { .. }) if !is_first => return Ok(()),
                Err(error) => tries.again(Fault::from(error)).await?,
            }
            is_first = false;
        }
    }
}

/// The parts, one after the other, in pieces of memory of their own.
fn pieces(parts: &[&[u8]]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            if piece.capacity() == 0 {
                let bytes: usize = parts.iter().map(|part| part.len()).sum();
                piece.reserve_exact(PIECE.min(bytes - pieces.len() * PIECE));
            }
            let (now, later) = rest.split_at(rest.len().min(PIECE - piece.len()));
            piece.extend_from_slice(now);
            rest = later;
            if piece.len() == PIECE {
                pieces.push(Bytes::from(std::mem::take(&mut piece)));
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(Bytes::from(piece));
    }
    pieces
}

impl Backend for Bucket {
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        Ok(Box::new(BucketWriter::new(self, name.clone())))
    }

    fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), Error> {
        self.wait(self.put_pieces(name, pieces(parts))).map_err(|fault| self.failed("write", name, fault))
    }

    fn put_shared(&self, name: &ObjectName, parts: &[Bytes]) -> Result<(), Error> {
        self.wait(self.put_pieces(name, parts.to_vec())).map_err(|fault| self.failed("write", name, fault))
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error> {
        self.wait(self.fetch(name, limit)).map_err(|fault| self.failed("read", name, fault))
    }

    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.wait(self.fill(name, offset, buf)).map_err(|fault| self.failed("read", name, fault))
    }

    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error> {
        self.wait(self.tail(name, len)).map_err(|fault| self.failed("read", name, fault))
    }

    fn size(&self, name: &ObjectName) -> Result<u64, Error> {
        self.wait(self.head(name)).map_err(|fault| self.failed("look at", name, fault))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error> {
        if !listing::can_begin_a_name(prefix) {
            return Ok(());
        }
        self.each_key(prefix, &mut |key, size| match ObjectName::new(key) {
            Ok(name) => visit(ObjectInfo { name, size }),
            Err(_) => Ok(()),
        })
    }

    fn list_foreign(&self, prefix: &str, visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>) -> Result<(), Error> {
        self.each_key(prefix, &mut |key, _| match ObjectName::new(key) {
            Ok(_) => Ok(()),
            Err(_) => visit(ForeignName::new(key)),
        })
    }

    fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let _alone = self.deleting.enter(name);
        let removal = async {
            self.head(name).await?;
            self.remove(name).await
        };
        self.wait(removal).map_err(|fault| self.failed("delete", name, fault))
    }

    fn discard(&self, name: &ObjectName) -> Result<(), Error> {
        match self.wait(self.remove(name)) {
            Err(fault) if fault.is_not_found() => Ok(()),
            other => other.map_err(|fault| self.failed("delete", name, fault)),
        }
    }

    /// Zero: S3, Google Cloud Storage and Azure list what they have acknowledged.
    fn settle_delay(&self) -> Duration {
        Duration::ZERO
    }

    fn requests_in_flight(&self) -> usize {
        self.settings.requests_in_flight.max(1)
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("location", &self.location).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_parts_in_their_order() {
        let bytes: Vec<u8> = (0..3 * PIECE as u32 + 5).map(|n| (n % 251) as u8).collect();
        for cut in [1, 1000, PIECE - 1, PIECE, PIECE + 1, bytes.len()] {
            let parts: Vec<&[u8]> = bytes.chunks(cut.max(999)).flat_map(|part| [part, &[]]).collect();
            let pieces = pieces(&parts);
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE));
            assert!(pieces.concat() == bytes);
        }
        assert!(pieces(&[]).is_empty() && pieces(&[&[], &[]]).is_empty());
    }
}
