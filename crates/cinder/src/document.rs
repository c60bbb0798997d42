//! Cinder's two documents, `<prefix>_metadata` and `<prefix>_sha256file`, as streams.
//!
//! Both are JSON as CPython's `json.dumps(document, sort_keys=True, indent=2)` writes it, and these writers write the same
//! bytes. A terabyte's list of hashes is 2.25 GiB of text, so neither a writer nor a reader ever has a list in memory: elements
//! are pushed one by one, and visited as they are read.
//!
//! ```
//! use cinderblock_cinder::document::{Head, Sha256FileWriter, read_sha256file};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let head = Head { backup_id: "b".to_owned(), volume_id: "v".to_owned(), ..Head::default() };
//! let mut writer = Sha256FileWriter::new(Vec::new(), &head, 32_768)?;
//! writer.push_all(&[[0x5a; 32], [0xa5; 32]])?;
//! let text = writer.finish()?;
//!
//! let mut hashes = Vec::new();
//! let read = read_sha256file("v_sha256file", text.as_slice(), &mut |batch| {
//!     hashes.extend_from_slice(batch);
//!     Ok(())
//! })?;
//! assert_eq!((read.head, read.chunk_size, hashes), (head, 32_768, vec![[0x5a; 32], [0xa5; 32]]));
//! # Ok(())
//! # }
//! ```
//!
//! # What a reader accepts
//! A reader is not for JSON in general but for these documents, from a storage that is not trusted:
//!
//! - Keys may come in any order, and unknown ones are skipped. A known key that is there twice is an error, and so is a missing
//!   one that a restore needs; without the others (names, times) the backup is still good.
//! - Numbers are whole and below 2^64; `NaN` and its likes, which Python writes into JSON, are refused, as are surrogates that are
//!   not a pair.
//! - A key, an id, a time, a version or an object's name has at most [`MAX_NAME_BYTES`], a backup's name or description
//!   [`MAX_TEXT_BYTES`], `extra_metadata` [`MAX_EXTRA_METADATA_BYTES`], `volume_meta` and any text that is skipped
//!   [`MAX_VOLUME_META_BYTES`]. Nesting ends at 128 levels. Apart from these, only a buffer of 64 KiB is kept, however long the
//!   document is.
//! - Nothing may follow the document.
//!
//! What it refuses is an [`Error::BadDocument`] that says where: lines and columns count from 1, columns
//! in bytes. Elements that came before the damage were visited by then.

mod extra;
mod json;
mod metadata;
mod sha256file;
mod text;

pub use extra::ExtraMetadata;
pub use metadata::{Metadata, MetadataWriter, ObjectEntry, read_metadata};
pub use sha256file::{BlockHash, HASHES_PER_VISIT, Sha256File, Sha256FileWriter, read_sha256file};

use json::JsonReader;
use text::Output;

use std::io::{self, Read, Write};

use crate::error::Error;

/// Longest key, id, time, version or object name that a reader accepts, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 1_024;

/// Longest backup name or description that a reader accepts, in bytes of UTF-8. Cinder's database keeps 255 characters.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// Longest `extra_metadata` that a reader accepts, in bytes of JSON. None of Cinder's own drivers has any.
pub const MAX_EXTRA_METADATA_BYTES: usize = 256 << 10;

/// Longest `volume_meta` that a reader accepts, in bytes of UTF-8.
pub const MAX_VOLUME_META_BYTES: usize = 16 << 20;

/// The version of both documents, and of the driver that writes them.
pub const VERSION: &str = "1.0.0";

/// What both documents say about their backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// A longer text for people.
    pub backup_description: Option<String>,
    /// Id of the backup. A reader of metadata takes a missing one, which no restore needs, for an empty one.
    pub backup_id: String,
    /// A name for people.
    pub backup_name: Option<String>,
    /// When the backup was made, as Python's `str(datetime)` writes it; `None`, the text, where Cinder's database had nothing. A
    /// reader takes a missing one for an empty one.
    pub created_at: String,
    /// Version of the document: [`VERSION`]. A reader hands back any; it is for the caller to refuse those that it does not
    /// know.
    pub version: String,
    /// Id of the volume. A reader of metadata takes a missing one for an empty one.
    pub volume_id: String,
}

impl Default for Head {
    /// Empty, of version [`VERSION`].
    fn default() -> Self {
        Self {
            backup_description: None,
            backup_id: String::new(),
            backup_name: None,
            created_at: String::new(),
            version: VERSION.to_owned(),
            volume_id: String::new(),
        }
    }
}

impl Head {
    /// Writes what comes first in both documents, with the number that only one of them has.
    fn begin<W: Write>(&self, out: &mut Output<W>, chunk_size: Option<u64>) -> io::Result<()> {
        out.raw(b"{\n  \"backup_description\": ")?;
        out.text_or_null(self.backup_description.as_deref())?;
        out.raw(b",\n  \"backup_id\": ")?;
        out.text(&self.backup_id)?;
        out.raw(b",\n  \"backup_name\": ")?;
        out.text_or_null(self.backup_name.as_deref())?;
        if let Some(chunk_size) = chunk_size {
            out.raw(b",\n  \"chunk_size\": ")?;
            out.number(chunk_size)?;
        }
        out.raw(b",\n  \"created_at\": ")?;
        out.text(&self.created_at)
    }
}

/// The keys of [`Head`], while a document is being read.
#[derive(Debug, Default)]
struct HeadFields {
    backup_description: Option<Option<String>>,
    backup_id: Option<String>,
    backup_name: Option<Option<String>>,
    created_at: Option<Option<String>>,
    version: Option<String>,
    volume_id: Option<String>,
}

impl HeadFields {
    /// Reads the value of a key if it is one of these; otherwise returns false and reads nothing.
    fn read<R: Read>(&mut self, key: &str, json: &mut JsonReader<'_, R>) -> Result<bool, Error> {
        match key {
            "backup_description" => {
                json.once(&mut self.backup_description, key, |json| json.text_or_null(MAX_TEXT_BYTES))?;
            }
            "backup_id" => json.once(&mut self.backup_id, key, |json| json.owned_text(MAX_NAME_BYTES))?,
            "backup_name" => json.once(&mut self.backup_name, key, |json| json.text_or_null(MAX_TEXT_BYTES))?,
            "created_at" => json.once(&mut self.created_at, key, |json| json.text_or_null(MAX_NAME_BYTES))?,
            "version" => json.once(&mut self.version, key, |json| json.owned_text(MAX_NAME_BYTES))?,
            "volume_id" => json.once(&mut self.volume_id, key, |json| json.owned_text(MAX_NAME_BYTES))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish<R: Read>(self, json: &JsonReader<'_, R>, ids_needed: bool) -> Result<Head, Error> {
        let id = |id: Option<String>, key| match (id, ids_needed) {
            (None, true) => Err(json.missing(key)),
            (id, _) => Ok(id.unwrap_or_default()),
        };
        Ok(Head {
            backup_description: self.backup_description.flatten(),
            backup_id: id(self.backup_id, "backup_id")?,
            backup_name: self.backup_name.flatten(),
            created_at: self.created_at.flatten().unwrap_or_default(),
            version: self.version.ok_or_else(|| json.missing("version"))?,
            volume_id: id(self.volume_id, "volume_id")?,
        })
    }
}

#[cfg(test)]
mod tests {
    mod bounds;
    mod damage;
    mod format;
}
