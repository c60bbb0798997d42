//! `cinderblock.json`: what a repository is.

use cinderblock_backend::Backend;
use cinderblock_chunker::ChunkSize;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::RepositoryId;
use crate::layout;
use crate::time::Timestamp;

/// Newest format version that this program knows, and the one that it makes.
pub const DESCRIPTOR_VERSION: u32 = 1;

/// Largest descriptor that is read: 1 MiB.
const LIMIT: u64 = 1 << 20;

/// What a repository is: written once, by `init`, and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The repository's identity.
    pub repository: RepositoryId,
    /// Size of the chunks of fixed-size chunking, and average of content-defined chunking.
    pub chunk_size: ChunkSize,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether its objects are sealed.
    pub encrypted: bool,
}

/// The JSON text. Unknown members are an error: they would mean something that this program does not do.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: String,
    version: u32,
    repository_id: String,
    chunk_size: u64,
    created_at: String,
    encryption: String,
}

/// Read before all else, so that a newer version is told from damage.
#[derive(Deserialize)]
struct VersionOnly {
    format: String,
    version: u32,
}

const FORMAT: &str = "cinderblock";

/// What `encryption` says of a repository without.
const NO_ENCRYPTION: &str = "none";

/// And of one with: how objects are sealed.
const AES_256_GCM: &str = "aes-256-gcm";

impl Descriptor {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let text = Text {
            format: FORMAT.to_owned(),
            version: DESCRIPTOR_VERSION,
            repository_id: self.repository.to_string(),
            chunk_size: self.chunk_size.bytes().into(),
            created_at: self.created_at.to_string(),
            encryption: if self.encrypted { AES_256_GCM } else { NO_ENCRYPTION }.to_owned(),
        };
        let mut bytes = serde_json::to_vec_pretty(&text).expect("strings and numbers are always JSON");
        bytes.push(b'\n');
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let object = layout::DESCRIPTOR;
        let damaged = |reason: String| Error::damaged(object, 0, reason);
        let head: VersionOnly = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if head.format != FORMAT {
            return Err(damaged(format!("its format is {:?}", head.format)));
        }
        if head.version == 0 {
            return Err(damaged("version 0 was never written".to_owned()));
        }
        if head.version > DESCRIPTOR_VERSION {
            return Err(Error::NewerFormat {
                object: object.to_owned(),
                version: head.version,
                supported: DESCRIPTOR_VERSION,
            });
        }
        let text: Text = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        let encrypted = match text.encryption.as_str() {
            NO_ENCRYPTION => false,
            AES_256_GCM => true,
            other => {
                let reason =
                    format!("the repository is encrypted in a way that this program does not know ({other:?})");
                return Err(Error::Unsupported { object: object.to_owned(), reason });
            }
        };
        Ok(Self {
            repository: text.repository_id.parse().map_err(|error: Error| damaged(error.to_string()))?,
            chunk_size: ChunkSize::new(text.chunk_size).map_err(|error| damaged(error.to_string()))?,
            created_at: text.created_at.parse().map_err(|_| damaged("created_at is not a time".to_owned()))?,
            encrypted,
        })
    }

    pub(crate) fn load(backend: &dyn Backend) -> Result<Self, Error> {
        match backend.get(&layout::descriptor()?, LIMIT) {
            Ok(bytes) => Self::decode(&bytes),
            Err(error) if error.is_not_found() => Err(Error::NotARepository { location: backend.location() }),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> Descriptor {
        Descriptor {
            repository: RepositoryId::from_bytes([7; 16]),
            chunk_size: ChunkSize::DEFAULT,
            created_at: Timestamp::from_microseconds(1_790_000_000_000_000),
            encrypted: false,
        }
    }

    #[test]
    fn golden_text() -> Result<(), Error> {
        let text = r#"{
  "format": "cinderblock",
  "version": 1,
  "repository_id": "07070707070707070707070707070707",
  "chunk_size": 32768,
  "created_at": "2026-09-21T14:13:20Z",
  "encryption": "none"
}
"#;
        assert_eq!(String::from_utf8_lossy(&descriptor().encode()), text);
        assert_eq!(Descriptor::decode(text.as_bytes())?, descriptor());
        let encrypted = Descriptor { encrypted: true, ..descriptor() };
        let text = text.replace("none", "aes-256-gcm");
        assert_eq!(String::from_utf8_lossy(&encrypted.encode()), text);
        assert_eq!(Descriptor::decode(text.as_bytes())?, encrypted);
        Ok(())
    }

    #[test]
    fn newer_encrypted_and_hostile_descriptors_are_told_apart() {
        let with = |from: &str, to: &str| {
            let text = String::from_utf8_lossy(&descriptor().encode()).replace(from, to);
            Descriptor::decode(text.as_bytes())
        };
        assert!(matches!(
            with("\"version\": 1", "\"version\": 2, \"new\": 1"),
            Err(Error::NewerFormat { version: 2, .. })
        ));
        assert!(matches!(with("none", "aes"), Err(Error::Unsupported { .. })));
        assert!(matches!(with("32768", "32769"), Err(Error::Damaged { .. })));
        assert!(matches!(with("32768", "99999999999999999999"), Err(Error::Damaged { .. })));
        assert!(with("0707", "..").is_err());
        assert!(Descriptor::decode(b"").is_err());
    }
}
