//! Object storage for immutable objects: where a repository keeps its packs, index segments and records.
//!
//! An object has a name that is never used twice, is created once, whole and durable, and is deleted at last. That is
//! all that [`Backend`] offers, because every store can do it well: no overwriting, appending, renaming or locking.
//!
//! ```
//! use std::io::Write;
//!
//! use cinderblock_backend::{Backend, Folder, ObjectName};
//!
//! let place = tempfile::tempdir()?;
//! let backend = Folder::create(place.path().join("repository"))?;
//!
//! let name = ObjectName::new("packs/ab/abcdef")?;
//! let mut writer = backend.create(&name)?;
//! writer.write_all(b"header, frames, directory, ")?;
//! assert!(backend.size(&name).unwrap_err().is_not_found(), "nothing is visible yet");
//! writer.write_all(b"footer")?;
//! writer.finish()?;
//!
//! let tail = backend.get_tail(&name, 6)?;
//! assert_eq!((tail.bytes.as_slice(), tail.object_size), (&b"footer"[..], 33));
//!
//! let mut frames = [0; 6];
//! backend.read_into(&name, 8, &mut frames)?;
//! assert_eq!(&frames, b"frames");
//!
//! let mut bytes = 0;
//! backend.list("packs/", &mut |object| {
//!     bytes += object.size;
//!     Ok(())
//! })?;
//! assert_eq!(bytes, 33);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module or type | what it is |
//! |---|---|
//! | [`Backend`], [`ObjectWriter`] | the trait |
//! | [`ObjectName`] | a name that is safe as a path and as a key |
//! | [`ForeignName`] | a name of what else is in the storage |
//! | [`Folder`] | files below a folder, local or on NFS |
//! | [`Memory`] | a map in this process |
//! | [`for_each_in_flight`] | many requests at once |
//! | [`Recording`] | a decorator: counts and logs operations |
//! | [`Faulty`] | a decorator: lets chosen operations fail |
//! | [`Throttled`] | a decorator: latency, and a limit in bytes per second |
//! | [`Limited`], [`Line`] | a decorator: a limit for uploads and one for downloads, shared by backends |
//! | [`AppendOnly`] | a decorator: nothing is deleted |
//! | [`Retaining`] | a decorator: keeps objects as a service with Object Lock does |
//! | [`Crashing`] | a map that can say what a crash would have left of it |
//! | [`simulated`] | several processes and their mishaps, in an order that a seed decides |
//! | [`conformance`] | the tests that every backend must pass |
//!
//! Decorators can be put around each other; `&B`, `Box<B>` and `Arc<B>` are backends if `B` is one.

mod append_only;
mod backend;
pub mod conformance;
mod crashing;
mod decorator;
mod error;
mod faulty;
mod folder;
mod foreign;
mod in_flight;
mod limited;
mod memory;
mod name;
mod pace;
mod recording;
mod request;
mod retaining;
mod retention;
pub mod simulated;
mod throttled;

pub use append_only::AppendOnly;
pub use backend::{Backend, Leftovers, ObjectInfo, ObjectWriter, Tail};
pub use crashing::{Crash, Crashing};
pub use error::Error;
pub use faulty::{Faulty, Rule};
pub use folder::{Folder, is_bad_sector};
pub use foreign::ForeignName;
pub use in_flight::for_each_in_flight;
pub use limited::{Limited, Line};
pub use memory::Memory;
pub use name::{MAX_NAME_LEN, MAX_PART_LEN, ObjectName};
pub use recording::{LogEntry, Recording, Tally};
pub use request::{Kind, Request};
pub use retaining::Retaining;
pub use retention::{Retention, RetentionMode};
pub use throttled::Throttled;
