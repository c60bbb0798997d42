//! `<prefix>_metadata`: the data objects of a backup.

use std::io::{self, Read, Write};

use super::extra::ExtraMetadata;
use super::json::JsonReader;
use super::text::{Output, from_hex, put_hex};
use super::{Head, HeadFields, MAX_EXTRA_METADATA_BYTES, MAX_NAME_BYTES, MAX_VOLUME_META_BYTES};
use crate::error::Error;

/// One data object of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its name. A reader accepts any of 1 to [`MAX_NAME_BYTES`].
    pub name: String,
    /// How it is compressed, by the name that was configured, in lower case. A reader accepts any text of at most
    /// [`MAX_NAME_BYTES`].
    pub compression: String,
    /// How many bytes of the volume it holds: its own size, once decompressed.
    pub length: u64,
    /// MD5 of those bytes.
    pub md5: [u8; 16],
    /// First byte of the volume that it holds. What a reader hands over ends below 2^64.
    pub offset: u64,
}

/// Writes a `_metadata` document.
///
/// After an error the document is incomplete, and to be thrown away; so it is without [`finish`](Self::finish).
#[derive(Debug)]
#[must_use = "the document is incomplete until it is finished"]
pub struct MetadataWriter<W> {
    out: Output<W>,
    version: String,
    volume_id: String,
    empty: bool,
}

impl<W: Write> MetadataWriter<W> {
    /// Begins a document. It is buffered here: `writer` need not be.
    ///
    /// # Errors
    /// What `writer` says.
    pub fn new(writer: W, head: &Head, extra_metadata: Option<&ExtraMetadata>) -> io::Result<Self> {
        let mut out = Output::new(writer);
        head.begin(&mut out, None)?;
        if let Some(extra) = extra_metadata {
            out.raw(b",\n  \"extra_metadata\": ")?;
            out.raw(extra.as_json().as_bytes())?;
        }
        out.raw(b",\n  \"objects\": [")?;
        Ok(Self { out, version: head.version.clone(), volume_id: head.volume_id.clone(), empty: true })
    }

    /// Adds an object. The driver has them in the order of their numbers, and so of their offsets.
    ///
    /// # Errors
    /// What the writer says.
    pub fn push(&mut self, object: &ObjectEntry) -> io::Result<()> {
        let out = &mut self.out;
        out.raw(if self.empty { b"\n    {\n      " } else { b",\n    {\n      " })?;
        self.empty = false;
        out.text(&object.name)?;
        out.raw(b": {\n        \"compression\": ")?;
        out.text(&object.compression)?;
        out.raw(b",\n        \"length\": ")?;
        out.number(object.length)?;
        let mut md5 = *b",\n        \"md5\": \"................................\",\n        \"offset\": ";
        put_hex(&object.md5, &mut md5[18..50]);
        out.raw(&md5)?;
        out.number(object.offset)?;
        out.raw(b"\n      }\n    }")
    }

    /// Completes the document: with the id of the backup that this one is an increment of, and the volume's own metadata, which
    /// are JSON themselves. Gives back the writer, to which everything is written, but which is not flushed.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self, parent_id: Option<&str>, volume_meta: Option<&str>) -> io::Result<W> {
        let out = &mut self.out;
        out.raw(if self.empty { b"]" } else { b"\n  ]" })?;
        out.raw(b",\n  \"parent_id\": ")?;
        out.text_or_null(parent_id)?;
        out.raw(b",\n  \"version\": ")?;
        out.text(&self.version)?;
        out.raw(b",\n  \"volume_id\": ")?;
        out.text(&self.volume_id)?;
        out.raw(b",\n  \"volume_meta\": ")?;
        out.text_or_null(volume_meta)?;
        out.raw(b"\n}")?;
        self.out.finish()
    }
}

/// A `_metadata` document without its list.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// What both documents say.
    pub head: Head,
    /// Facts of a storage's own, if there are any.
    pub extra_metadata: Option<ExtraMetadata>,
    /// Id of the backup that this one is an increment of. Cinder does not rely on it, nor should anyone.
    pub parent_id: Option<String>,
    /// The volume's own metadata: a JSON text, which is not looked into here.
    pub volume_meta: Option<String>,
    /// How many objects were visited.
    pub objects: u64,
}

/// Reads a `_metadata` document, named `object` in errors, and calls `visit` with each data object in the order of the list.
///
/// Needed are `version`, `objects`, and of each object `compression`, `length`, `md5` and `offset`. The reader need not be
/// buffered.
///
/// # Errors
/// [`Error::BadDocument`] for what the [module](super) does not accept; [`Error::ReadObject`] where reading fails; and what
/// `visit` returns.
pub fn read_metadata(
    object: &str,
    reader: impl Read,
    visit: &mut dyn FnMut(ObjectEntry) -> Result<(), Error>,
) -> Result<Metadata, Error> {
    let mut json = JsonReader::new(object, reader);
    let mut head = HeadFields::default();
    let (mut extra_metadata, mut objects, mut parent_id, mut volume_meta) = (None, None, None, None);
    json.object(|json, key| match key {
        "extra_metadata" => json.once(&mut extra_metadata, key, |json| {
            let text = json.verbatim(MAX_EXTRA_METADATA_BYTES)?;
            ExtraMetadata::from_json(&text).map_err(|error| json.bad(format!("extra_metadata: {error}; it ends")))
        }),
        "objects" => json.once(&mut objects, key, |json| {
            let mut count: u64 = 0;
            json.list(|json| {
                count += 1;
                visit(read_entry(json)?)
            })?;
            Ok(count)
        }),
        "parent_id" => json.once(&mut parent_id, key, |json| json.text_or_null(MAX_NAME_BYTES)),
        "volume_meta" => json.once(&mut volume_meta, key, |json| json.text_or_null(MAX_VOLUME_META_BYTES)),
        _ => match head.read(key, json)? {
            true => Ok(()),
            false => json.skip(),
        },
    })?;
    json.end()?;
    Ok(Metadata {
        head: head.finish(&json, false)?,
        extra_metadata: extra_metadata.flatten(),
        parent_id: parent_id.flatten(),
        volume_meta: volume_meta.flatten(),
        objects: objects.ok_or_else(|| json.missing("objects"))?,
    })
}

fn read_entry<R: Read>(json: &mut JsonReader<'_, R>) -> Result<ObjectEntry, Error> {
    let mut entry = None;
    json.object(|json, name| {
        if entry.is_some() {
            return Err(json.bad("an entry of objects names a second object".to_owned()));
        }
        if name.is_empty() {
            return Err(json.bad("an object without a name".to_owned()));
        }
        let (mut compression, mut length, mut md5, mut offset) = (None, None, None, None);
        json.object(|json, key| match key {
            "compression" => json.once(&mut compression, key, |json| json.owned_text(MAX_NAME_BYTES)),
            "length" => json.once(&mut length, key, JsonReader::number),
            "md5" => json.once(&mut md5, key, |json| match from_hex(json.text(MAX_NAME_BYTES)?) {
                Some(md5) => Ok(md5),
                None => Err(json.bad("md5 is not 32 lower-case hexadecimal digits".to_owned())),
            }),
            "offset" => json.once(&mut offset, key, JsonReader::number),
            _ => json.skip(),
        })?;
        let (Some(compression), Some(length), Some(md5), Some(offset)) = (compression, length, md5, offset) else {
            return Err(json.bad(format!("{name:?} lacks one of compression, length, md5 and offset")));
        };
        if length.checked_add(offset).is_none() {
            return Err(json.bad(format!("{name:?} ends beyond byte 2^64 of the volume")));
        }
        entry = Some(ObjectEntry { name: name.to_owned(), compression, length, md5, offset });
        Ok(())
    })?;
    entry.ok_or_else(|| json.bad("an entry of objects names no object".to_owned()))
}
