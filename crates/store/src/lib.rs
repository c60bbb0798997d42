//! The store: a deduplicating repository of chunks in immutable objects.
//!
//! A repository holds *packs* of compressed chunks, index *segments* that list them, and a *record* for each backup: the
//! commit point, with the root of the *map* from the volume's bytes to chunk ids. `docs/format.md` has every byte. This
//! crate knows the format, the index, and the order in which a writer writes; it runs no threads and knows nothing of
//! volumes as files: that is `cinderblock-pipeline`.
//!
//! # Who may run beside whom
//! | | writes | why it is safe |
//! |---|---|---|
//! | any number of [`Session`]s, on any hosts | new packs, segments, records | names are random and never used twice; a backup is its record, put last |
//! | readers ([`Repository::locate`], [`Repository::leaves`]) | nothing | objects never change |
//! | processes of one host, sharing an index folder | the index, one at a time | an exclusive file lock; readers keep the files open that they began with |
//! | [`Repository::set_mark`] | one mark | of several hosts that take a number, one succeeds; the others look again |
//! | [`Repository::put_scrub`] | one cursor, and removes others | each says what is true whatever others do; the furthest is never removed |
//! | [`Repository::delete_backup`] | removes one record, and its marks | no other backup depends on it |
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use cinderblock_backend::Memory;
//! use cinderblock_chunker::ChunkSize;
//! use cinderblock_store::pack::{Content, frame};
//! use cinderblock_store::{ChunkId, OpenOptions, Repository};
//!
//! let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
//! Repository::create(&*storage, ChunkSize::DEFAULT)?;
//! let repository = Repository::open(storage, &OpenOptions::new(cache.path()))?;
//!
//! let chunk = b"some bytes of a volume";
//! let listed = frame::FrameChunk { id: ChunkId::of(chunk), length: chunk.len() as u32 };
//! let session = repository.start_session("an example")?;
//! let mut packs = session.pack_builder(Content::Data);
//! packs.push(frame::encode(chunk, vec![listed], true, frame::Compression::default())?)?;
//! if let Some(pack) = packs.finish()? {
//!     session.store_pack(&pack)?;
//! }
//! drop(session);
//!
//! let mut places = Vec::new();
//! repository.locate(&[listed.id, ChunkId::of(b"unknown")], &mut places)?;
//! assert!(places[0].is_some() && places[1].is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ahead;
mod backups;
mod check;
mod chunks;
mod clock;
mod codec;
mod confirmation;
mod damage;
mod deletion;
mod descriptor;
mod directory_cache;
mod error;
mod fence;
pub mod gc;
mod id;
mod identity;
mod index;
mod key;
mod layout;
mod listing;
mod locking;
pub mod map;
mod mark;
mod node_cache;
mod object;
pub mod pack;
mod policy;
mod random;
mod read_ahead;
mod record;
mod repository;
pub mod retention;
mod sabotage;
mod scrub;
mod seal;
mod segment;
mod session;
pub mod sha256;
#[cfg(test)]
mod simulation;
mod time;
mod usage;
mod volume_names;

pub use clock::{Clock, SystemClock};
pub use damage::Wrong;
pub use descriptor::{DESCRIPTOR_VERSION, Descriptor};
pub use error::Error;
pub use id::{
    BackupId, ChunkId, CollectionId, CursorId, Ids, KeySlotId, PackId, RepositoryId, SegmentId, SessionId, VolumeId,
};
pub use key::{KeySlot, KeySlots, MAX_KEY_SLOTS, Method, Secret};
pub use locking::ObjectLock;
pub use mark::{Damage, Mark, Marks};
pub use object::{FORMAT_VERSION, Kind};
pub use record::{Chunking, MAX_HINTS, MAX_VOLUME_BYTES, Record, Statistics, check_texts};
pub use repository::{Location, OpenOptions, PackInfo, RebuildReport, Repository};
pub use scrub::{Round, Scrub, Scrubs};
pub use session::announcement::{Role, SessionInfo};
pub use session::{Session, merge_hints};
pub use time::Timestamp;
pub use usage::{Reached, Usage};
