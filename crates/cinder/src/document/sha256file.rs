//! `<prefix>_sha256file`: the hashes of a volume's blocks.

use std::io::{self, Read, Write};

use super::json::JsonReader;
use super::text::{Output, from_hex, put_hex};
use super::{Head, HeadFields, MAX_NAME_BYTES};
use crate::error::Error;

/// How many hashes a reader hands over at once, at most.
pub const HASHES_PER_VISIT: usize = 1_024;

/// SHA-256 of one block.
pub type BlockHash = [u8; 32];

/// Writes a `_sha256file` document.
///
/// After an error the document is incomplete, and to be thrown away; so it is without [`finish`](Self::finish).
#[derive(Debug)]
#[must_use = "the document is incomplete until it is finished"]
pub struct Sha256FileWriter<W> {
    out: Output<W>,
    version: String,
    volume_id: String,
    empty: bool,
}

impl<W: Write> Sha256FileWriter<W> {
    /// Begins a document; `chunk_size` is how many bytes of the volume a hash is of. It is buffered here: `writer` need not be.
    ///
    /// # Errors
    /// What `writer` says.
    pub fn new(writer: W, head: &Head, chunk_size: u64) -> io::Result<Self> {
        let mut out = Output::new(writer);
        head.begin(&mut out, Some(chunk_size))?;
        out.raw(b",\n  \"sha256s\": [")?;
        Ok(Self { out, version: head.version.clone(), volume_id: head.volume_id.clone(), empty: true })
    }

    /// Adds the next block's SHA-256.
    ///
    /// # Errors
    /// What the writer says.
    pub fn push(&mut self, hash: &BlockHash) -> io::Result<()> {
        let mut line = *b",\n    \"................................................................\"";
        put_hex(hash, &mut line[7..71]);
        // No comma before the first one.
        let line = if self.empty { &line[1..] } else { &line[..] };
        self.empty = false;
        self.out.raw(line)
    }

    /// Adds the SHA-256s of the next blocks.
    ///
    /// # Errors
    /// What the writer says.
    pub fn push_all(&mut self, hashes: &[BlockHash]) -> io::Result<()> {
        hashes.iter().try_for_each(|hash| self.push(hash))
    }

    /// Completes the document, and gives back the writer, to which everything is written, but which is not flushed.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> io::Result<W> {
        let out = &mut self.out;
        out.raw(if self.empty { b"]" } else { b"\n  ]" })?;
        out.raw(b",\n  \"version\": ")?;
        out.text(&self.version)?;
        out.raw(b",\n  \"volume_id\": ")?;
        out.text(&self.volume_id)?;
        out.raw(b"\n}")?;
        self.out.finish()
    }
}

/// A `_sha256file` document without its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sha256File {
    /// What both documents say.
    pub head: Head,
    /// How many bytes of the volume a hash is of; never 0. The last block may be shorter.
    pub chunk_size: u64,
    /// How many hashes were visited.
    pub hashes: u64,
}

/// Reads a `_sha256file` document, named `object` in errors, and calls `visit` with the hashes in the order of the list, 1 to
/// [`HASHES_PER_VISIT`] at once.
///
/// Needed are `version`, `chunk_size`, `sha256s`, `backup_id` and `volume_id`. The reader need not be buffered.
///
/// # Errors
/// [`Error::BadDocument`] for what the [module](super) does not accept; [`Error::ReadObject`] where reading fails; and what
/// `visit` returns.
pub fn read_sha256file(
    object: &str,
    reader: impl Read,
    visit: &mut dyn FnMut(&[BlockHash]) -> Result<(), Error>,
) -> Result<Sha256File, Error> {
    let mut json = JsonReader::new(object, reader);
    let mut head = HeadFields::default();
    let (mut chunk_size, mut hashes) = (None, None);
    json.object(|json, key| match key {
        "chunk_size" => json.once(&mut chunk_size, key, |json| match json.number()? {
            0 => Err(json.bad("chunk_size is 0".to_owned())),
            bytes => Ok(bytes),
        }),
        "sha256s" => json.once(&mut hashes, key, |json| read_hashes(json, visit)),
        _ => match head.read(key, json)? {
            true => Ok(()),
            false => json.skip(),
        },
    })?;
    json.end()?;
    Ok(Sha256File {
        head: head.finish(&json, true)?,
        chunk_size: chunk_size.ok_or_else(|| json.missing("chunk_size"))?,
        hashes: hashes.ok_or_else(|| json.missing("sha256s"))?,
    })
}

fn read_hashes<R: Read>(
    json: &mut JsonReader<'_, R>,
    visit: &mut dyn FnMut(&[BlockHash]) -> Result<(), Error>,
) -> Result<u64, Error> {
    let mut batch = Vec::with_capacity(HASHES_PER_VISIT);
    let mut count = 0;
    json.list(|json| {
        let Some(hash) = from_hex(json.text(MAX_NAME_BYTES)?) else {
            return Err(json.bad("a hash is not 64 lower-case hexadecimal digits".to_owned()));
        };
        batch.push(hash);
        if batch.len() == HASHES_PER_VISIT {
            count += batch.len() as u64;
            visit(&batch)?;
            batch.clear();
        }
        Ok(())
    })?;
    if !batch.is_empty() {
        count += batch.len() as u64;
        visit(&batch)?;
    }
    Ok(count)
}
