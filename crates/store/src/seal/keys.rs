//! The repository's key, and the keys that come from it.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::object_key::{ObjectKey, SALT_BYTES};
use crate::error::Error;
use crate::id::{Ids, VolumeId};
use crate::object::HEADER_BYTES;
use crate::random;

/// Contexts of the key derivation. They never change: ids name content for ever.
const CHUNK_CONTEXT: &str = "cinderblock 2026-11 encrypted chunk ids v1";
const NODE_CONTEXT: &str = "cinderblock 2026-11 encrypted map node ids v1";
const VOLUME_CONTEXT: &str = "cinderblock 2026-11 encrypted volume names v1";
const OBJECT_CONTEXT: &str = "cinderblock 2026-11 sealed objects v1";

/// Bytes of the keyed hash of a volume's id in names: half of a BLAKE3 hash, so that two never meet.
const VOLUME_PART_BYTES: usize = 16;

/// The key of an encrypted repository: 256 random bits that never change, and that only key slots hold. Nothing is sealed with it: all is
/// derived.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct MasterKey([u8; 32]);

impl MasterKey {
    pub(crate) fn random() -> Result<Self, Error> {
        let mut key = Self([0; 32]);
        random::fill(&mut key.0)?;
        Ok(key)
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn derive(&self, context: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(context, &self.0))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// The keys of an open repository.
pub(crate) struct Keys {
    master: MasterKey,
    ids: Ids,
    volumes: Zeroizing<[u8; 32]>,
    objects: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    pub(crate) fn new(master: MasterKey) -> Self {
        Self {
            ids: Ids::keyed(master.derive(CHUNK_CONTEXT), master.derive(NODE_CONTEXT)),
            volumes: master.derive(VOLUME_CONTEXT),
            objects: master.derive(OBJECT_CONTEXT),
            master,
        }
    }

    pub(crate) fn master(&self) -> &MasterKey {
        &self.master
    }

    pub(crate) fn ids(&self) -> Ids {
        self.ids.clone()
    }

    /// 32 hexadecimal digits that stand for a volume in names of objects.
    pub(super) fn volume_part(&self, volume: &VolumeId) -> String {
        let hash = blake3::keyed_hash(&self.volumes, volume.as_str().as_bytes());
        hash.as_bytes().iter().take(VOLUME_PART_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key of the object with this header and salt.
    pub(super) fn object_key(&self, header: &[u8; HEADER_BYTES], salt: &[u8; SALT_BYTES]) -> Result<ObjectKey, Error> {
        let mut hasher = blake3::Hasher::new_keyed(&self.objects);
        hasher.update(salt).update(header);
        let key = Zeroizing::new(*hasher.finalize().as_bytes());
        hasher.zeroize();
        ObjectKey::new(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids and names for ever: a change here would make every encrypted repository unreadable.
    #[test]
    fn golden_ids_and_names() -> Result<(), Error> {
        let keys = Keys::new(MasterKey::from_bytes([7; 32]));
        let (chunk, node) = (keys.ids.chunk(b"cinderblock"), keys.ids.node(b"cinderblock"));
        assert_eq!(chunk.to_string(), "b2b623ee00ef33f48eae1b0ab960fc95347ed0812eae9fad96703be29786bc85");
        assert_eq!(node.to_string(), "f6f0a873b9771c43e4efaf989090df3245733c45605eec1dc22b611fdae1c01d");
        assert_eq!(keys.volume_part(&VolumeId::new("vm-1")?), "fe8df66509caa60d07c7ae402b639ca7");
        Ok(())
    }

    #[test]
    fn nothing_secret_is_shown() {
        let keys = Keys::new(MasterKey::from_bytes([7; 32]));
        let shown = format!("{keys:?} {:?} {:?}", keys.master, keys.ids);
        assert_eq!(shown, "Keys(..) MasterKey(..) Ids { keyed: true }");
    }
}
