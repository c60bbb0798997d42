//! Collections: lists of packs that are about to be deleted.
//!
//! A pack that is in a collection is *condemned*, for ever: whatever of it is needed again is copied out of it, and it is
//! deleted. So it does not matter which collector does it, or how often.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use cinderblock_backend::Backend;

use crate::codec;
use crate::error::Error;
use crate::id::{CollectionId, PackId, SessionId};
use crate::layout;
use crate::object::{HEADER_BYTES, Header, Kind, get_envelope, put_envelope};
use crate::seal::Seal;
use crate::time::Timestamp;

/// Most packs in one collection: 1.6 MB of names, 3 TiB of packs.
pub(crate) const MAX_PACKS: usize = 100_000;

#[derive(Encode, Decode)]
struct Body {
    condemned_at: i64,
    packs: Vec<PackId>,
}

/// Condemns packs. Durable when this returns.
pub(crate) fn put(
    backend: &dyn Backend,
    (seal, collector): (&Seal, SessionId),
    packs: &[PackId],
    now: Timestamp,
) -> Result<CollectionId, Error> {
    let id = CollectionId::random()?;
    let header =
        Header { kind: Kind::Collection, repository: seal.repository(), id: *id.as_bytes(), session: collector };
    let body = Body { condemned_at: now.microseconds(), packs: packs.to_vec() };
    put_envelope(backend, seal, &layout::collection(id)?, &header, &codec::encode("a collection", &body)?)?;
    Ok(id)
}

/// All collections that there are. One that is damaged stops whoever has to know what is condemned.
pub(crate) fn list(backend: &dyn Backend, seal: &Seal) -> Result<BTreeMap<CollectionId, Vec<PackId>>, Error> {
    let (mut ids, mut unknown) = (Vec::new(), None);
    backend.list(layout::COLLECTIONS, &mut |info| {
        match layout::parse_collection(&info.name) {
            Some(id) => ids.push(id),
            None => unknown = Some(info.name),
        }
        Ok(())
    })?;
    if let Some(object) = unknown {
        let reason = "it is nothing that this program knows: use a newer cinderblock, or remove it".to_owned();
        return Err(Error::Unsupported { object: object.to_string(), reason });
    }
    let mut found = BTreeMap::new();
    for id in ids {
        match get(backend, seal, id) {
            Ok(packs) => drop(found.insert(id, packs)),
            // Finished since it was listed: its packs are gone.
            Err(Error::Backend(error)) if error.is_not_found() => {}
            Err(Error::Damaged { object, offset, reason }) => {
                let reason = format!(
                    "{reason}; it lists packs that are about to be deleted: when no backup runs, remove it, and run 'cinderblock gc'"
                );
                return Err(Error::Damaged { object, offset, reason });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn get(backend: &dyn Backend, seal: &Seal, id: CollectionId) -> Result<Vec<PackId>, Error> {
    let name = layout::collection(id)?;
    let (header, body) = get_envelope(backend, seal, &name, Kind::Collection)?;
    header.expect(name.as_str(), &[Kind::Collection], seal.repository(), *id.as_bytes())?;
    let Body { packs, .. } = codec::decode(name.as_str(), HEADER_BYTES as u64, &body)?;
    Ok(packs)
}

#[cfg(test)]
mod tests {
    use cinderblock_backend::Memory;

    use super::*;
    use crate::id::RepositoryId;

    #[test]
    fn golden_bytes_and_back() -> Result<(), Error> {
        let backend = Memory::new();
        let (seal, collector) = (Seal::none(RepositoryId::from_bytes([9; 16])), SessionId::from_bytes([8; 16]));
        let packs = [PackId::from_bytes([4; 16]), PackId::from_bytes([5; 16])];
        let id = put(&backend, (&seal, collector), &packs, Timestamp::from_microseconds(3))?;
        let bytes = backend.get(&layout::collection(id)?, 1 << 20)?;
        let mut expected = vec![6, 2];
        expected.extend([4; 16]);
        expected.extend([5; 16]);
        assert_eq!(bytes[64..bytes.len() - 32], expected);
        assert_eq!(list(&backend, &seal)?, BTreeMap::from([(id, packs.to_vec())]));
        Ok(())
    }

    #[test]
    fn what_is_not_known_is_not_passed_over() -> Result<(), Error> {
        let (backend, seal) = (Memory::new(), Seal::none(RepositoryId::from_bytes([9; 16])));
        backend.put(&cinderblock_backend::ObjectName::new("gc/00000001")?, &[b"of a newer version"])?;
        assert!(matches!(list(&backend, &seal), Err(Error::Unsupported { .. })));
        Ok(())
    }
}
