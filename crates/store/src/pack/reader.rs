//! Reading packs.

use std::ops::Range;
use std::sync::Arc;

use cinderblock_backend::{Backend, ObjectName};

use crate::error::Error;
use crate::id::{PackId, SessionId};
use crate::layout;
use crate::object::{Header, Kind};
use crate::pack::description::Description;
use crate::pack::directory::{Codec, Directory};
use crate::pack::{Content, frame};
use crate::seal::{ObjectKey, Part, Seal};
use crate::segment::PackSummary;

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

impl PackReader {
    /// Reads the directory from the storage.
    pub(crate) fn open(backend: &dyn Backend, seal: &Seal, id: PackId) -> Result<Self, Error> {
        let description = Description::read(backend, &layout::pack(id)?, id, seal.beginning_bytes())?;
        Self::described(seal, id, &description)
    }

    /// A pack that says this of itself.
    pub(crate) fn described(seal: &Seal, id: PackId, description: &Description) -> Result<Self, Error> {
        let name = layout::pack(id)?;
        let object = name.as_str();
        let (header, encoded, footer) = description.check(object, seal.accepts())?;
        header.expect(object, &[Kind::DataPack, Kind::MapPack], seal.repository(), *id.as_bytes())?;
        let key = seal.key_of(object, &description.beginning)?;
        let at = footer.directory_at;
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
        if directory.end() != at || directory.ids().len() != footer.chunks as usize {
            return Err(Error::damaged(object, at, "directory and footer do not agree"));
        }
        let content = if header.kind == Kind::MapPack { Content::Map } else { Content::Data };
        let object_bytes = description.object_bytes;
        Ok(Self { id, name, content, session: header.session, directory, object_bytes, key })
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
            let read = backend.read_into(&name, 0, &mut beginning);
            read.map_err(|error| Error::of_read(&name, 0, error))?;
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

    /// Where a frame stands in the pack: bytes of the object.
    ///
    /// # Errors
    /// [`Error::Damaged`] where there is no such frame.
    pub fn range_of(&self, number: u32) -> Result<Range<u64>, Error> {
        let range = self.directory.frame_range(number);
        range.ok_or_else(|| Error::damaged(&self.name, 0, format!("there is no frame {number}")))
    }

    /// Of a frame's bytes as they stand in the pack, [`range_of`](Self::range_of) of them, makes its stored bytes without a seal, and its plain ones.
    pub(crate) fn decode_alone(&self, number: u32, stored: &mut Vec<u8>, plain: &mut Vec<u8>) -> Result<(), Error> {
        let from = self.range_of(number)?.start;
        let length = self.decode_frame(number, from, stored, plain)?.stored.len();
        stored.truncate(length);
        if self.directory.frames().get(number as usize).is_some_and(|entry| entry.codec == Codec::Stored) {
            plain.clone_from(stored);
        }
        Ok(())
    }

    /// Length of the whole object in bytes.
    pub fn object_bytes(&self) -> u64 {
        self.object_bytes
    }
}
