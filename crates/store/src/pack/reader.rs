//! Reading packs.

use std::sync::Arc;

use cinderblock_backend::{Backend, ObjectName};

use crate::error::Error;
use crate::id::{PackId, SessionId};
use crate::layout;
use crate::object::{HEADER_BYTES, Header, Kind, checksum};
use crate::pack::directory::{Codec, Directory};
use crate::pack::{Content, DIRECTORY_MAX_BYTES, FOOTER_BYTES, FOOTER_MAGIC, frame};
use crate::seal::{ObjectKey, Part, Seal};
use crate::segment::PackSummary;

/// First guess at how much of a pack's tail holds its directory: 256 KiB is enough for 3,700 chunks.
const TAIL_BYTES: usize = 256 << 10;

/// A frame, as [`PackReader::decode_frame`] gives it.
#[derive(Clone, Copy, Debug)]
pub struct DecodedFrame<'b> {
    /// Its stored bytes, without a seal.
    pub stored: &'b [u8],
    /// Its plain bytes: the same where it is not compressed.
    pub plain: &'b [u8],
}

/// A pack whose header and directory were read and checked.
#[derive(Clone, Debug)]
pub struct PackReader {
    id: PackId,
    name: ObjectName,
    content: Content,
    session: SessionId,
    directory: Directory,
    object_bytes: u64,
    /// Opens its frames, where they are sealed.
    key: Option<Arc<ObjectKey>>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl PackReader {
    /// Reads the directory: two requests, at the same time where the storage wants several, and three for a very full pack.
    pub(crate) fn open(backend: &dyn Backend, seal: &Seal, id: PackId) -> Result<Self, Error> {
        let name = layout::pack(id)?;
        let object = name.as_str();
        let missing = |error: cinderblock_backend::Error| match error.is_not_found() {
            true => Error::PackMissing { pack: id },
            false => error.into(),
        };
        let mut beginning = vec![0; seal.beginning_bytes()];
        let (tail, read) = match backend.requests_in_flight() {
            0 | 1 => (backend.get_tail(&name, TAIL_BYTES), None),
            _ => std::thread::scope(|threads| {
                let read = threads.spawn(|| backend.read_into(&name, 0, &mut beginning));
                let tail = backend.get_tail(&name, TAIL_BYTES);
                (tail, Some(read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))))
            }),
        };
        let mut tail = tail.map_err(missing)?;
        let size = tail.object_size;
        if size < (HEADER_BYTES + FOOTER_BYTES) as u64 {
            return Err(Error::damaged(object, size, "it is shorter than any pack"));
        }
        let footer_at = size - FOOTER_BYTES as u64;
        let short = || Error::damaged(object, size, "it ends within its footer");
        let footer =
            tail.bytes.len().checked_sub(FOOTER_BYTES).and_then(|at| tail.bytes.get(at..)).ok_or_else(short)?;
        let footer: [u8; FOOTER_BYTES] = number(footer, 0).ok_or_else(short)?;
        if footer[56..] != FOOTER_MAGIC || footer[48..56] != [0; 8] {
            return Err(Error::damaged(object, footer_at + 48, "it does not end as a pack does"));
        }
        let at = u64::from_le_bytes(number(&footer, 0).ok_or_else(short)?);
        let length = u64::from(u32::from_le_bytes(number(&footer, 8).ok_or_else(short)?));
        let chunks = u32::from_le_bytes(number(&footer, 12).ok_or_else(short)?);
        if at < HEADER_BYTES as u64 || length > DIRECTORY_MAX_BYTES || at.checked_add(length) != Some(footer_at) {
            return Err(Error::damaged(object, footer_at, "the footer's directory is not in the pack"));
        }
        let needed = length as usize + FOOTER_BYTES;
        if tail.bytes.len() < needed {
            tail = backend.get_tail(&name, needed).map_err(missing)?;
        }
        let from = tail.bytes.len().checked_sub(needed).ok_or_else(short)?;
        let encoded = tail.bytes.get(from..from + length as usize).ok_or_else(short)?;
        read.unwrap_or_else(|| backend.read_into(&name, 0, &mut beginning)).map_err(missing)?;
        let header = beginning.get(..HEADER_BYTES).unwrap_or_default();
        let agrees = checksum(&[header, encoded, &footer[..16]])[..] == footer[16..48];
        let header = match Header::decode(object, header, seal.accepts()) {
            Ok(header) if agrees => header,
            Err(error @ (Error::NewerFormat { .. } | Error::Unsupported { .. })) if agrees => return Err(error),
            _ => return Err(Error::damaged(object, at, "the checksum of header and directory does not agree")),
        };
        header.expect(object, &[Kind::DataPack, Kind::MapPack], seal.repository(), *id.as_bytes())?;
        let key = seal.key_of(object, &beginning)?;
        let mut opened = Vec::new();
        let encoded = match &key {
            None => encoded,
            Some(key) => {
                opened.extend_from_slice(encoded);
                key.open_vec((object, at), Part::Directory, &[], &mut opened)?;
                &opened
            }
        };
        let directory = Directory::decode((object, at), encoded, seal.framing())?;
        if directory.end() != at || directory.ids().len() != chunks as usize {
            return Err(Error::damaged(object, at, "directory and footer do not agree"));
        }
        let content = if header.kind == Kind::MapPack { Content::Map } else { Content::Data };
        Ok(Self { id, name, content, session: header.session, directory, object_bytes: size, key })
    }

    /// A pack as a segment describes it, whose own directory was not read. Of a sealed one, the beginning is read: its frames need the salt.
    pub(crate) fn of_summary(
        (backend, seal): (&dyn Backend, &Seal),
        session: SessionId,
        summary: PackSummary,
    ) -> Result<Self, Error> {
        let content = if summary.map { Content::Map } else { Content::Data };
        let name = layout::pack(summary.id)?;
        let mut key = None;
        if seal.is_sealed() {
            let mut beginning = vec![0; seal.beginning_bytes()];
            backend.read_into(&name, 0, &mut beginning)?;
            Header::decode(name.as_str(), &beginning, seal.accepts())?;
            key = seal.key_of(name.as_str(), &beginning)?;
        }
        Ok(Self {
            id: summary.id,
            name,
            key,
            content,
            session,
            directory: Directory::new(("an index segment", 0), summary.lists, seal.framing(), false)?,
            object_bytes: summary.object_bytes,
        })
    }

    pub(crate) fn without_hashes(mut self) -> Self {
        self.directory = self.directory.without_hashes();
        self
    }

    /// The pack's name.
    pub fn id(&self) -> PackId {
        self.id
    }

    /// Name of the object in the repository.
    pub fn object(&self) -> &ObjectName {
        &self.name
    }

    /// What it holds: volume data or map nodes.
    pub fn content(&self) -> Content {
        self.content
    }

    /// The session that wrote it.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// What is in it.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Opens a frame where it is sealed: `bytes` are those of [`Directory::frame_range`], and begin with the frame's stored bytes afterwards.
    fn open_frame(&self, number: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let Some(key) = &self.key else { return Ok(()) };
        let at = self.directory.frame_offset(number).unwrap_or(0);
        key.open((self.name.as_str(), at), Part::Frame(number), &[], bytes).map(drop)
    }

    /// A frame of the pack, of which `bytes` has what stands from byte `from` on, all of [`Directory::frame_range`] at least. It is opened in place
    /// where it is sealed, and decompressed into `plain`, which is used again; what is not compressed is not copied. The chunks in it
    /// are **not** checked yet: that is done with [`Ids::is_authentic`](crate::Ids::is_authentic), chunk by chunk.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the pack has no such frame, where the bytes are not what was sealed at this place of it, and where they do not decompress to
    /// the length that the directory states.
    pub fn decode_frame<'b>(
        &self,
        number: u32,
        from: u64,
        bytes: &'b mut [u8],
        plain: &'b mut Vec<u8>,
    ) -> Result<DecodedFrame<'b>, Error> {
        let elsewhere = || Error::damaged(&self.name, from, format!("frame {number} is not where it should be"));
        let entry = self.directory.frames().get(number as usize).ok_or_else(elsewhere)?;
        let range = self.directory.frame_range(number).ok_or_else(elsewhere)?;
        let place = |at: u64| usize::try_from(at.checked_sub(from)?).ok();
        let places = place(range.start).zip(place(range.end));
        let frame = places.and_then(|(from, to)| bytes.get_mut(from..to)).ok_or_else(elsewhere)?;
        self.open_frame(number, frame)?;
        let stored = frame.get(..entry.stored_bytes as usize).ok_or_else(elsewhere)?;
        // The directory was checked: stored and plain length are equal then.
        if entry.codec == Codec::Stored {
            return Ok(DecodedFrame { stored, plain: stored });
        }
        frame::decode(&self.name, range.start, entry, stored, plain)?;
        Ok(DecodedFrame { stored, plain })
    }

    /// Length of the whole object in bytes.
    pub fn object_bytes(&self) -> u64 {
        self.object_bytes
    }
}
