//! [`HashStream`]: a `_sha256file` read beside what needs it, a part at a time.

use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::document::BlockHash;
use crate::document::{Sha256File, read_sha256file};
use crate::error::Error;
use crate::storage::{ChunkedStorage, ObjectReader};

/// Batches of hashes that are read ahead. A batch has at most a few thousand hashes.
const BATCHES_AHEAD: usize = 16;

/// Hashes of a backup's blocks, in the order of the volume. A thread of its own reads them ahead.
pub(crate) struct HashStream<'s> {
    batches: Receiver<Result<Vec<BlockHash>, Error>>,
    batch: Vec<BlockHash>,
    used: usize,
    _reader: std::marker::PhantomData<&'s ()>,
}

impl<'s> HashStream<'s> {
    /// Begins to read the list in a thread of `scope`.
    pub(crate) fn start<'env>(
        scope: &'s Scope<'s, 'env>,
        storage: &'env dyn ChunkedStorage,
        container: &'env str,
        object: String,
    ) -> Self {
        let (sender, batches) = bounded(BATCHES_AHEAD);
        scope.spawn(move || {
            if let Err(error) = send_all(storage, container, &object, &sender) {
                // Without a receiver, whoever wanted the hashes has failed already.
                let _ = sender.send(Err(error));
            }
        });
        Self { batches, batch: Vec::new(), used: 0, _reader: std::marker::PhantomData }
    }

    /// Appends the next `count` hashes, or as many as there are.
    pub(crate) fn take(&mut self, count: usize, hashes: &mut Vec<BlockHash>) -> Result<(), Error> {
        self.each_part(count as u64, |part| hashes.extend_from_slice(part))
    }

    /// Passes over the next `count` hashes, or as many as there are.
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), Error> {
        self.each_part(count, |_| {})
    }

    fn each_part(&mut self, count: u64, mut visit: impl FnMut(&[BlockHash])) -> Result<(), Error> {
        let mut missing = count;
        while missing > 0 {
            let rest = self.batch.get(self.used..).unwrap_or_default();
            if rest.is_empty() {
                self.used = 0;
                match self.batches.recv() {
                    Ok(batch) => self.batch = batch?,
                    // The list has ended.
                    Err(_) => {
                        self.batch.clear();
                        return Ok(());
                    }
                }
                continue;
            }
            let part = usize::try_from(missing).ok().and_then(|missing| rest.get(..missing)).unwrap_or(rest);
            visit(part);
            missing -= part.len() as u64;
            self.used += part.len();
        }
        Ok(())
    }
}

fn send_all(
    storage: &dyn ChunkedStorage,
    container: &str,
    object: &str,
    sender: &Sender<Result<Vec<BlockHash>, Error>>,
) -> Result<(), Error> {
    let reader = open(storage, container, object)?;
    let mut gone = false;
    let read = read_sha256file(object, reader, &mut |hashes| match sender.send(Ok(hashes.to_vec())) {
        Ok(()) => Ok(()),
        Err(_) => {
            gone = true;
            // Ends the reading; nobody sees it.
            Err(Error::InvalidBackup { reason: "nobody wants the rest of its hashes".to_owned() })
        }
    });
    if gone { Ok(()) } else { read.map(drop) }
}

fn open<'s>(storage: &'s dyn ChunkedStorage, container: &str, object: &str) -> Result<ObjectReader<'s>, Error> {
    storage.get_object_reader(container, object, None).map_err(|error| match error {
        Error::Backend(error) if error.is_not_found() => Error::InvalidBackup {
            reason: format!(
                "its list of hashes, {container}/{object}, is missing; its data can be restored without it"
            ),
        },
        error => error,
    })
}

/// Reads a whole list, to check it and to learn what it says besides hashes, in constant memory.
///
/// # Errors
/// [`Error::InvalidBackup`] where there is none; [`Error::BadDocument`], or what the storage says.
pub(crate) fn check(storage: &dyn ChunkedStorage, container: &str, object: &str) -> Result<Sha256File, Error> {
    let reader = open(storage, container, object)?;
    read_sha256file(object, reader, &mut |_| Ok(()))
}
