//! What all decorators have in common: something happens around each operation of another backend.

use std::io::{self, IoSlice, Write};

use crate::{Error, Kind, ObjectName, ObjectWriter, Request};

/// Something to do around each operation.
pub(crate) trait Around: Send + Sync {
    /// Calls `perform`, or not, with whatever belongs before and after it. `amount` tells of a result how many bytes it
    /// moved; for a [`Kind::List`], how many objects it showed.
    fn around<T>(
        &self,
        request: Request<'_>,
        perform: impl FnOnce() -> Result<T, Error>,
        amount: impl FnOnce(&T) -> u64,
    ) -> Result<T, Error>;

    /// Whether what killed writers have left half written may be removed.
    fn removes_leftovers(&self) -> bool {
        true
    }

    /// How many requests at once keep it busy, where `inner` do so for the other backend.
    fn wanted_in_flight(&self, inner: usize) -> usize {
        inner
    }
}

/// A writer whose writes and finish are operations of a decorator.
pub(crate) struct DecoratedWriter<'a, D> {
    pub(crate) decorator: &'a D,
    pub(crate) name: ObjectName,
    pub(crate) inner: Box<dyn ObjectWriter + 'a>,
    /// A write failed, maybe by the decorator's own will, of which the inner writer knows nothing.
    pub(crate) failed: bool,
}

impl<D: Around> DecoratedWriter<'_, D> {
    fn around_write(
        &mut self,
        bytes: usize,
        mut write: impl FnMut(&mut dyn ObjectWriter) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let name = &self.name;
        let inner = &mut *self.inner;
        let request = Request { kind: Kind::Write, name: name.as_str(), offset: 0, bytes: bytes as u64 };
        let perform = || loop {
            match write(inner) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written.map_err(|error| Error::from_io("write", name.as_str(), error)),
            }
        };
        let written = self.decorator.around(request, perform, |written| *written as u64);
        written.map_err(|error| {
            self.failed = true;
            io::Error::other(error)
        })
    }
}

impl<D: Around> Write for DecoratedWriter<'_, D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.around_write(bytes.len(), |inner| inner.write(bytes))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        self.around_write(bytes, |inner| inner.write_vectored(parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<D: Around> ObjectWriter for DecoratedWriter<'_, D> {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        let DecoratedWriter { decorator, name, inner, failed } = *self;
        let request = Request { kind: Kind::Finish, name: name.as_str(), offset: 0, bytes: 0 };
        let perform = || {
            if failed {
                return Err(Error::Incomplete { name: name.clone() });
            }
            inner.finish()
        };
        decorator.around(request, perform, |()| 0)
    }
}

/// Implements the named methods of [`Backend`](crate::Backend) by those of the field `inner`.
macro_rules! pass_on {
    (@create) => {
        fn create<'a>(
            &'a self,
            name: &$crate::ObjectName,
        ) -> Result<Box<dyn $crate::ObjectWriter + 'a>, $crate::Error> {
            self.inner.create(name)
        }
    };
    (@put) => {
        fn put(&self, name: &$crate::ObjectName, parts: &[&[u8]]) -> Result<(), $crate::Error> {
            self.inner.put(name, parts)
        }

        fn put_shared(&self, name: &$crate::ObjectName, parts: &[bytes::Bytes]) -> Result<(), $crate::Error> {
            self.inner.put_shared(name, parts)
        }
    };
    (@get) => {
        fn get(&self, name: &$crate::ObjectName, limit: u64) -> Result<Vec<u8>, $crate::Error> {
            self.inner.get(name, limit)
        }
    };
    (@read_into) => {
        fn read_into(&self, name: &$crate::ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), $crate::Error> {
            self.inner.read_into(name, offset, buf)
        }
    };
    (@get_tail) => {
        fn get_tail(&self, name: &$crate::ObjectName, len: usize) -> Result<$crate::Tail, $crate::Error> {
            self.inner.get_tail(name, len)
        }
    };
    (@size) => {
        fn size(&self, name: &$crate::ObjectName) -> Result<u64, $crate::Error> {
            self.inner.size(name)
        }
    };
    (@list) => {
        fn list(
            &self,
            prefix: &str,
            visit: &mut dyn FnMut($crate::ObjectInfo) -> Result<(), $crate::Error>,
        ) -> Result<(), $crate::Error> {
            self.inner.list(prefix, visit)
        }
    };
    (@list_foreign) => {
        fn list_foreign(
            &self,
            prefix: &str,
            visit: &mut dyn FnMut($crate::ForeignName) -> Result<(), $crate::Error>,
        ) -> Result<(), $crate::Error> {
            self.inner.list_foreign(prefix, visit)
        }
    };
    (@can_retain) => {
        fn can_retain(&self) -> Result<bool, $crate::Error> {
            self.inner.can_retain()
        }
    };
    (@forget_cached) => {
        fn forget_cached(&self, name: &$crate::ObjectName) {
            self.inner.forget_cached(name);
        }
    };
    (@remove_leftovers) => {
        fn remove_leftovers(
            &self,
            prefix: &str,
            older_than: std::time::Duration,
            dry_run: bool,
        ) -> Result<$crate::Leftovers, $crate::Error> {
            self.inner.remove_leftovers(prefix, older_than, dry_run)
        }
    };
    (@settle_delay) => {
        fn settle_delay(&self) -> std::time::Duration {
            self.inner.settle_delay()
        }
    };
    (@requests_in_flight) => {
        fn requests_in_flight(&self) -> usize {
            self.inner.requests_in_flight()
        }
    };
    (@location) => {
        fn location(&self) -> String {
            self.inner.location()
        }
    };
    ($($method:ident)*) => {
        $($crate::decorator::pass_on! { @$method })*
    };
}

pub(crate) use pass_on;

/// Implements [`Backend`](crate::Backend) for a decorator that is [`Around`] its field `inner`.
macro_rules! decorate {
    ($decorator:ident) => {
        impl<B: $crate::Backend> $crate::Backend for $decorator<B> {
            fn create<'a>(
                &'a self,
                name: &$crate::ObjectName,
            ) -> Result<Box<dyn $crate::ObjectWriter + 'a>, $crate::Error> {
                let request = $crate::Request { kind: $crate::Kind::Create, name: name.as_str(), offset: 0, bytes: 0 };
                let inner = self.around(request, || self.inner.create(name), |_| 0)?;
                let name = name.clone();
                Ok(Box::new($crate::decorator::DecoratedWriter { decorator: self, name, inner, failed: false }))
            }

            fn put(&self, name: &$crate::ObjectName, parts: &[&[u8]]) -> Result<(), $crate::Error> {
                let bytes = parts.iter().map(|part| part.len() as u64).sum();
                let request = $crate::Request { kind: $crate::Kind::Put, name: name.as_str(), offset: 0, bytes };
                self.around(request, || self.inner.put(name, parts), |()| bytes)
            }

            fn put_shared(&self, name: &$crate::ObjectName, parts: &[bytes::Bytes]) -> Result<(), $crate::Error> {
                let bytes = parts.iter().map(|part| part.len() as u64).sum();
                let request = $crate::Request { kind: $crate::Kind::Put, name: name.as_str(), offset: 0, bytes };
                self.around(request, || self.inner.put_shared(name, parts), |()| bytes)
            }

            fn get(&self, name: &$crate::ObjectName, limit: u64) -> Result<Vec<u8>, $crate::Error> {
                let request = $crate::Request { kind: $crate::Kind::Get, name: name.as_str(), offset: 0, bytes: limit };
                self.around(request, || self.inner.get(name, limit), |bytes| bytes.len() as u64)
            }

            fn read_into(&self, name: &$crate::ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), $crate::Error> {
                let bytes = buf.len() as u64;
                let request = $crate::Request { kind: $crate::Kind::ReadInto, name: name.as_str(), offset, bytes };
                self.around(request, || self.inner.read_into(name, offset, buf), |()| bytes)
            }

            fn get_tail(&self, name: &$crate::ObjectName, len: usize) -> Result<$crate::Tail, $crate::Error> {
                let bytes = len as u64;
                let request = $crate::Request { kind: $crate::Kind::GetTail, name: name.as_str(), offset: 0, bytes };
                self.around(request, || self.inner.get_tail(name, len), |tail| tail.bytes.len() as u64)
            }

            fn size(&self, name: &$crate::ObjectName) -> Result<u64, $crate::Error> {
                let request = $crate::Request { kind: $crate::Kind::Size, name: name.as_str(), offset: 0, bytes: 0 };
                self.around(request, || self.inner.size(name), |_| 0)
            }

            fn list(
                &self,
                prefix: &str,
                visit: &mut dyn FnMut($crate::ObjectInfo) -> Result<(), $crate::Error>,
            ) -> Result<(), $crate::Error> {
                let request = $crate::Request { kind: $crate::Kind::List, name: prefix, offset: 0, bytes: 0 };
                let perform = || {
                    let mut objects: u64 = 0;
                    self.inner.list(prefix, &mut |info| {
                        objects += 1;
                        visit(info)
                    })?;
                    Ok(objects)
                };
                self.around(request, perform, |objects| *objects).map(|_| ())
            }

            fn list_foreign(
                &self,
                prefix: &str,
                visit: &mut dyn FnMut($crate::ForeignName) -> Result<(), $crate::Error>,
            ) -> Result<(), $crate::Error> {
                let request = $crate::Request { kind: $crate::Kind::ListForeign, name: prefix, offset: 0, bytes: 0 };
                self.around(request, || self.inner.list_foreign(prefix, visit), |()| 0)
            }

            fn delete(&self, name: &$crate::ObjectName) -> Result<(), $crate::Error> {
                let request = $crate::Request { kind: $crate::Kind::Delete, name: name.as_str(), offset: 0, bytes: 0 };
                self.around(request, || self.inner.delete(name), |()| 0)
            }

            fn discard(&self, name: &$crate::ObjectName) -> Result<(), $crate::Error> {
                let request = $crate::Request { kind: $crate::Kind::Delete, name: name.as_str(), offset: 0, bytes: 0 };
                self.around(request, || self.inner.discard(name), |()| 0)
            }

            // One operation, whose name is the first of the objects.
            fn retain(&self, names: &[$crate::ObjectName], retention: $crate::Retention) -> Result<(), $crate::Error> {
                let name = names.first().map_or("", |name| name.as_str());
                let request = $crate::Request { kind: $crate::Kind::Retain, name, offset: 0, bytes: 0 };
                self.around(request, || self.inner.retain(names, retention), |()| 0)
            }

            fn retained(
                &self,
                names: &[$crate::ObjectName],
            ) -> Result<Vec<Option<std::time::SystemTime>>, $crate::Error> {
                let name = names.first().map_or("", |name| name.as_str());
                let request = $crate::Request { kind: $crate::Kind::Retained, name, offset: 0, bytes: 0 };
                self.around(request, || self.inner.retained(names), |_| 0)
            }

            $crate::decorator::pass_on! { can_retain forget_cached settle_delay location }

            // No operation of its own: it concerns nothing that a reader or a listing could see.
            fn remove_leftovers(
                &self,
                prefix: &str,
                older_than: std::time::Duration,
                dry_run: bool,
            ) -> Result<$crate::Leftovers, $crate::Error> {
                if !self.removes_leftovers() {
                    return Ok($crate::Leftovers::default());
                }
                self.inner.remove_leftovers(prefix, older_than, dry_run)
            }

            fn requests_in_flight(&self) -> usize {
                $crate::decorator::Around::wanted_in_flight(self, self.inner.requests_in_flight())
            }
        }
    };
}

pub(crate) use decorate;
