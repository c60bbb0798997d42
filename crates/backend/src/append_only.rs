//! [`AppendOnly`]: makes sure that nothing is deleted.

use crate::decorator::{Around, decorate};
use crate::{Backend, Error, Kind, Request};

/// Refuses to delete anything from another backend, with [`Error::AppendOnly`], and leaves alone what killed writers have left
/// half written. All else passes.
#[derive(Debug)]
pub struct AppendOnly<B> {
    inner: B,
}

impl<B: Backend> AppendOnly<B> {
    /// The same backend, without a way to delete.
    pub fn new(inner: B) -> AppendOnly<B> {
        AppendOnly { inner }
    }
}

impl<B: Backend> Around for AppendOnly<B> {
    fn around<T>(
        &self,
        request: Request<'_>,
        perform: impl FnOnce() -> Result<T, Error>,
        _amount: impl FnOnce(&T) -> u64,
    ) -> Result<T, Error> {
        match request.kind {
            Kind::Delete => Err(Error::AppendOnly { name: request.name.to_owned() }),
            _ => perform(),
        }
    }

    fn removes_leftovers(&self) -> bool {
        false
    }
}

decorate!(AppendOnly);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Folder, ObjectName};

    #[test]
    fn objects_come_and_none_goes() {
        let place = tempfile::tempdir().unwrap();
        let backend = AppendOnly::new(Folder::create(place.path().join("r")).unwrap());
        let name = ObjectName::new("a/b").unwrap();
        backend.put(&name, &[b"bytes"]).unwrap();
        let refused = backend.delete(&name).unwrap_err();
        assert!(matches!(&refused, Error::AppendOnly { name } if name == "a/b") && refused.is_delete_refused());
        assert_eq!(backend.get(&name, 10).unwrap(), b"bytes");
        std::fs::write(place.path().join("r/a/.tmp-0123456789abcdef0123456789abcdef"), b"half").unwrap();
        backend.remove_leftovers("", Duration::ZERO, false).unwrap();
        assert_eq!(std::fs::read_dir(place.path().join("r/a")).unwrap().count(), 2);
    }
}
