//! Whether the repository is the one that its descriptor says.
//!
//! A descriptor has no checksum, and its copies are kept apart: somebody may put another repository's in its place. Readers then find
//! that no object belongs to the repository. A writer would not: it would find nothing, store all of a volume again, and what it stores
//! would belong to nobody once the right descriptor is back.

use std::sync::atomic::Ordering;

use cinderblock_backend::{Backend, ObjectName};

use crate::error::Error;
use crate::id::RepositoryId;
use crate::layout;
use crate::object::{HEADER_BYTES, Header, Kind, get_checked};
use crate::pack::Description;
use crate::repository::Repository;
use crate::seal::{NOT_SEALED, SEALED};

/// How many records, and then packs, are looked at until one belongs to the repository. Mostly the first one does.
const LOOKED_AT: usize = 8;

impl Repository {
    /// Refuses to go on where the objects belong to another repository than the descriptor says. It looks until it has found that out once:
    /// the descriptor was read when the repository was opened.
    pub(crate) fn check_identity(&self) -> Result<(), Error> {
        if !self.identified.load(Ordering::Relaxed) {
            check(self.backend(), self.id())?;
            self.identified.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Refuses a repository of whose objects some belong to another one, and none to it.
fn check(backend: &dyn Backend, repository: RepositoryId) -> Result<(), Error> {
    let mut other = None;
    for prefix in [layout::BACKUPS, layout::PACKS] {
        for name in first_objects(backend, prefix)? {
            match Header::read(backend, &name)?.map(|header| header.repository) {
                Some(id) if id == repository => return Ok(()),
                // A damaged header may name any repository.
                Some(id) if is_whole(backend, &name)? => other = Some((name, id)),
                _ => {}
            }
        }
    }
    match other {
        None => Ok(()),
        Some((name, id)) => {
            let reason = format!(
                "it says that this is repository {repository}, but {name} belongs to repository {id}: put that repository's descriptor back"
            );
            Err(Error::damaged(layout::DESCRIPTOR, 0, reason))
        }
    }
}

/// Whether the checksum agrees that covers an object's header.
fn is_whole(backend: &dyn Backend, name: &ObjectName) -> Result<bool, Error> {
    let checked = match layout::parse_pack(name) {
        Some(id) => Description::read(backend, name, id, HEADER_BYTES)
            .and_then(|description| description.check(name.as_str(), &[NOT_SEALED, SEALED]).map(drop)),
        None => get_checked(backend, &[NOT_SEALED, SEALED], name, Kind::Record).map(drop),
    };
    match checked {
        Ok(()) => Ok(true),
        Err(Error::PackMissing { .. }) => Ok(false),
        Err(error) if error.is_damage() => Ok(false),
        Err(Error::Backend(error)) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

fn first_objects(backend: &dyn Backend, prefix: &str) -> Result<Vec<ObjectName>, Error> {
    let mut first = Vec::new();
    let listed = backend.list(prefix, &mut |info| {
        let known = layout::parse_record(&info.name).is_some() || layout::parse_pack(&info.name).is_some();
        first.extend(known.then_some(info.name));
        if first.len() < LOOKED_AT { Ok(()) } else { Err(cinderblock_backend::Error::Stopped) }
    });
    match listed {
        Err(cinderblock_backend::Error::Stopped) => Ok(first),
        other => Ok(other.map(|()| first)?),
    }
}

#[cfg(test)]
mod tests {
    use cinderblock_backend::Memory;

    use super::*;
    use crate::id::{PackId, SessionId};
    use crate::pack::{Content, PackBuilder, frame};
    use crate::seal::Seal;

    const OURS: RepositoryId = RepositoryId::from_bytes([1; 16]);
    const THEIRS: RepositoryId = RepositoryId::from_bytes([2; 16]);

    fn pack(repository: RepositoryId) -> Result<(ObjectName, Vec<u8>), Error> {
        let seal = Seal::none(repository);
        let mut builder = PackBuilder::new(seal.clone(), SessionId::from_bytes([0; 16]), Content::Data);
        let chunk = frame::FrameChunk { id: seal.ids().chunk(b"x"), length: 1 };
        builder.push(frame::encode(b"x", vec![chunk], true, frame::Compression::None)?)?;
        let pack = builder.finish()?.ok_or(Error::PackMissing { pack: PackId::from_bytes([0; 16]) })?;
        Ok((layout::pack(pack.id())?, pack.parts().concat()))
    }

    #[test]
    fn one_object_of_its_own_is_enough() -> Result<(), Error> {
        let backend = Memory::new();
        check(&backend, OURS)?;
        backend.put(&ObjectName::new("backups/vm/README")?, &[b"of somebody else"])?;
        backend.put(&layout::pack(PackId::from_bytes([0; 16]))?, &[b"cut short"])?;
        check(&backend, OURS)?;
        let (name, bytes) = pack(THEIRS)?;
        backend.put(&name, &[&bytes])?;
        let error = check(&backend, OURS).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(layout::DESCRIPTOR) && error.contains(&THEIRS.to_string()), "{error}");
        let (name, bytes) = pack(OURS)?;
        backend.put(&name, &[&bytes])?;
        check(&backend, OURS)
    }

    /// The only pack of a repository had a wrong byte in its header, and the repository was taken for another's.
    #[test]
    fn a_damaged_header_names_nobody() -> Result<(), Error> {
        let backend = Memory::new();
        let (name, mut bytes) = pack(OURS)?;
        bytes[20] ^= 1;
        backend.put(&name, &[&bytes])?;
        check(&backend, OURS)
    }
}
