//! [`Backend`]: what the repository asks of an object store.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::{Error, ForeignName, ObjectName, Retention};

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The object's whole name.
    pub name: ObjectName,
    /// Its size in bytes.
    pub size: u64,
}

/// The end of an object, from [`Backend::get_tail`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The object's last bytes: as many as were asked for, or the whole object where it is shorter.
    pub bytes: Vec<u8>,
    /// The size of the whole object in bytes.
    pub object_size: u64,
}

/// What [`Backend::remove_leftovers`] removed, or found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// The number of temporary files.
    pub files: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
}

/// An object that is being written, from [`Backend::create`].
///
/// Writes may go to the storage one by one: put a [`std::io::BufWriter`] around it for small ones. Dropped without
/// [`finish`](ObjectWriter::finish), it leaves nothing that any reader or listing could see.
pub trait ObjectWriter: Write + Send {
    /// Makes the object visible, whole and durable.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`] if the name is taken by now; [`Error::Incomplete`] if a write failed before. After any
    /// other error the object may or may not be there, but it is never there in part.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// A place for immutable objects: each is created once, whole, under a name that is not used again.
///
/// There is no overwriting, appending or renaming. All methods may be called from many threads at once. A method that
/// changes something returns when the change is durable; a read sees every change that returned before it began, a
/// listing sees it after [`settle_delay`](Backend::settle_delay).
///
/// After an error other than those named with a method, a change may or may not have happened.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Begins a new object, to be written as a stream. It becomes visible, whole and durable, when
    /// [`ObjectWriter::finish`] returns, never in part, and never before `finish` is called.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`], from here or from `finish`, if the name is taken: an object is never overwritten.
    /// Of several writers that finish one name, one succeeds.
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error>;

    /// Creates an object of all `parts`, one after the other, without joining them in memory first. It is durable on
    /// return.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`] if the name is taken.
    fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), Error> {
        let mut writer = self.create(name)?;
        write_parts(&mut *writer, parts).map_err(|source| Error::from_io("write", name.as_str(), source))?;
        writer.finish()
    }

    /// The same of parts that a storage may keep as long as it has to send them, again where an attempt fails, so that it needs no copy of them.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Backend::put).
    fn put_shared(&self, name: &ObjectName, parts: &[Bytes]) -> Result<(), Error> {
        self.put(name, &parts.iter().map(|part| &**part).collect::<Vec<_>>())
    }

    /// Reads a whole object of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::TooLarge`], before anything is allocated, if the object has more than `limit`
    /// bytes.
    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error>;

    /// Fills the whole of `buf` from the object, beginning at its byte `offset`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::UnexpectedEnd`] if the object has fewer than `offset + buf.len()` bytes. After an
    /// error the contents of `buf` are unspecified.
    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error>;

    /// Reads the object's last `len` bytes, or all of them where it is shorter, and its size: in one request, so that
    /// a footer can be read without knowing where it begins. Memory is taken for what is there, not for `len`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error>;

    /// The object's size in bytes.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    fn size(&self, name: &ObjectName) -> Result<u64, Error>;

    /// Calls `visit` for every object whose name begins with the string `prefix`, in no particular order, while the
    /// listing is being read: memory does not grow with the number of objects.
    ///
    /// The prefix need not end at a slash, and may be any string: `""` stands for all objects, one that no name can
    /// begin with for none. An object that is created or deleted meanwhile may or may not be seen; every other
    /// object is seen exactly once. `visit` may call any method of the backend.
    ///
    /// # Errors
    ///
    /// An error from `visit` ends the listing and is returned as it is: [`Error::Stopped`] is there for the
    /// purpose. A part of the storage that can't be read is an error, never an empty listing; so is, in a folder, a link
    /// that leads nowhere and has the name of an object or of a folder of objects.
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error>;

    /// Calls `visit` for whatever else is in the storage under a name that begins with `prefix`: what somebody else put
    /// there and [`list`](Backend::list) does not show, because it is no object, as its name can't be one's or, in a folder, as it is a
    /// pipe, a link that leads nowhere or the like. What such a name's own folder holds is not shown; neither are
    /// folders that are empty, nor a backend's own temporary files.
    ///
    /// A repository need not know of any of it. Who has to compare a listing with another program's does.
    ///
    /// # Errors
    ///
    /// Those of [`list`](Backend::list).
    fn list_foreign(&self, prefix: &str, visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>) -> Result<(), Error>;

    /// Removes an object. That is durable on return.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if it is not there; of several threads that delete one object, one succeeds.
    fn delete(&self, name: &ObjectName) -> Result<(), Error>;

    /// Removes an object if it is there. That is durable on return. A storage that does not say whether it was there is asked once, where
    /// [`delete`](Backend::delete) has to look before.
    ///
    /// # Errors
    ///
    /// What the storage says, but for an object that is not there.
    fn discard(&self, name: &ObjectName) -> Result<(), Error> {
        match self.delete(name) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Keeps objects from being deleted before a time, by anybody who has not more rights than `retention` asks for: as long as is said, or
    /// longer where they are kept longer already. Several at a time, because each may be a request.
    ///
    /// # Errors
    ///
    /// [`Error::CannotRetain`] where the storage has no such thing; [`Error::NotFound`]. After an error some objects may be kept
    /// and others not.
    fn retain(&self, names: &[ObjectName], retention: Retention) -> Result<(), Error> {
        let _ = (names, retention);
        Err(Error::CannotRetain { location: self.location() })
    }

    /// Until when each of these objects is kept from being deleted, in their order. None where one is not, or is not there.
    ///
    /// # Errors
    ///
    /// What the storage says.
    fn retained(&self, names: &[ObjectName]) -> Result<Vec<Option<SystemTime>>, Error> {
        Ok(vec![None; names.len()])
    }

    /// Whether [`retain`](Backend::retain) can do anything here.
    ///
    /// # Errors
    ///
    /// What the storage says.
    fn can_retain(&self) -> Result<bool, Error> {
        Ok(false)
    }

    /// Drops what caches on the way hold of an object's bytes, as far as that can be done, so that the next read asks the storage itself: for who
    /// doubts what it has read. Nothing where there are no such caches.
    fn forget_cached(&self, _name: &ObjectName) {}

    /// Removes what killed writers have left half written of objects whose names begin with `prefix`, if it was last written to at
    /// least `older_than` ago. With `dry_run` it is counted and stays. A backend that keeps nothing of a writer that has gone
    /// has nothing to do.
    ///
    /// Choose `older_than` far longer than any object takes to write, and than the clocks of the hosts that share the storage may
    /// differ (a day is good): a writer whose half of an object is removed fails.
    ///
    /// # Errors
    ///
    /// Those of [`list`](Backend::list) and of [`delete`](Backend::delete), but for what is missing.
    fn remove_leftovers(&self, prefix: &str, older_than: Duration, dry_run: bool) -> Result<Leftovers, Error> {
        let _ = (prefix, older_than, dry_run);
        Ok(Leftovers::default())
    }

    /// How long after a change a listing, here or on another host, may still not show it. Zero for memory and for a
    /// folder on a local file system.
    fn settle_delay(&self) -> Duration;

    /// How many requests at once keep the storage busy. One where a request takes hardly any time but that of its bytes (memory, a
    /// folder): more threads than work with the bytes gain nothing there. Tens where each waits for a network: who reads or writes much keeps so
    /// many under way, as far as memory allows.
    fn requests_in_flight(&self) -> usize {
        1
    }

    /// Where the objects are, for messages: a path or URL.
    fn location(&self) -> String;
}

/// Writes all parts, several with each call where the writer can.
fn write_parts(writer: &mut dyn ObjectWriter, parts: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match writer.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: Backend + ?Sized> Backend for $pointer {
            fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
                (**self).create(name)
            }
            fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), Error> {
                (**self).put(name, parts)
            }
            fn put_shared(&self, name: &ObjectName, parts: &[Bytes]) -> Result<(), Error> {
                (**self).put_shared(name, parts)
            }
            fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error> {
                (**self).get(name, limit)
            }
            fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
                (**self).read_into(name, offset, buf)
            }
            fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error> {
                (**self).get_tail(name, len)
            }
            fn size(&self, name: &ObjectName) -> Result<u64, Error> {
                (**self).size(name)
            }
            fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error> {
                (**self).list(prefix, visit)
            }
            fn list_foreign(
                &self,
                prefix: &str,
                visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>,
            ) -> Result<(), Error> {
                (**self).list_foreign(prefix, visit)
            }
            fn delete(&self, name: &ObjectName) -> Result<(), Error> {
                (**self).delete(name)
            }
            fn discard(&self, name: &ObjectName) -> Result<(), Error> {
                (**self).discard(name)
            }
            fn retain(&self, names: &[ObjectName], retention: Retention) -> Result<(), Error> {
                (**self).retain(names, retention)
            }
            fn retained(&self, names: &[ObjectName]) -> Result<Vec<Option<SystemTime>>, Error> {
                (**self).retained(names)
            }
            fn can_retain(&self) -> Result<bool, Error> {
                (**self).can_retain()
            }
            fn forget_cached(&self, name: &ObjectName) {
                (**self).forget_cached(name);
            }
            fn remove_leftovers(&self, prefix: &str, older_than: Duration, dry_run: bool) -> Result<Leftovers, Error> {
                (**self).remove_leftovers(prefix, older_than, dry_run)
            }
            fn settle_delay(&self) -> Duration {
                (**self).settle_delay()
            }
            fn requests_in_flight(&self) -> usize {
                (**self).requests_in_flight()
            }
            fn location(&self) -> String {
                (**self).location()
            }
        }
    )*};
}

forward!(&T, Arc<T>, Box<T>);
