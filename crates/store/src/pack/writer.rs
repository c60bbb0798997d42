//! Making packs.

use bytes::Bytes;

use crate::error::Error;
use crate::id::{PackId, SessionId};
use crate::object::{HEADER_BYTES, Header, Kind, checksum};
use crate::pack::description::Description;
use crate::pack::directory::{Directory, Lists};
use crate::pack::frame::EncodedFrame;
use crate::pack::{Content, FOOTER_MAGIC, PACK_MAX_CHUNKS, PACK_TARGET_BYTES};
use crate::seal::{Opening, Part, Seal};

/// Collects frames until they make a pack, and seals them where the repository is encrypted. It neither stores nor compresses.
#[derive(Debug)]
pub struct PackBuilder {
    seal: Seal,
    session: SessionId,
    content: Content,
    target_bytes: usize,
    /// Of the pack that has `frames`.
    pub(crate) begun: Option<(PackId, Opening)>,
    frames: Vec<EncodedFrame>,
    bytes: usize,
    chunks: usize,
}

/// A pack that is ready to be stored.
#[derive(Debug)]
pub struct FinishedPack {
    pub(crate) id: PackId,
    pub(crate) content: Content,
    pub(crate) directory: Directory,
    /// The object's bytes, in parts that follow each other. Shared with whoever sends them, so that a pack is in memory once.
    parts: Vec<Bytes>,
    object_bytes: u64,
}

impl PackBuilder {
    pub(crate) fn new(seal: Seal, session: SessionId, content: Content) -> Self {
        Self {
            seal,
            session,
            content,
            target_bytes: PACK_TARGET_BYTES,
            begun: None,
            frames: Vec::new(),
            bytes: 0,
            chunks: 0,
        }
    }

    /// Closes packs at so many stored bytes instead of [`PACK_TARGET_BYTES`], for those who have less memory.
    #[must_use]
    pub fn with_target_bytes(mut self, bytes: usize) -> Self {
        self.target_bytes = bytes;
        self
    }

    /// Adds a frame. Where it would make the pack too large, the pack before it is returned, finished.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a frame of more than [`PACK_MAX_CHUNKS`] chunks; [`Error::Random`]; [`Error::Cipher`].
    pub fn push(&mut self, mut frame: EncodedFrame) -> Result<Option<FinishedPack>, Error> {
        if frame.chunks() > PACK_MAX_CHUNKS {
            return Err(Error::TooLarge {
                what: "a frame",
                bytes: frame.chunks() as u64,
                limit: PACK_MAX_CHUNKS as u64,
            });
        }
        let full =
            self.bytes + frame.stored_bytes() > self.target_bytes || self.chunks + frame.chunks() > PACK_MAX_CHUNKS;
        let finished = if full { self.finish()? } else { None };
        self.bytes += frame.stored_bytes();
        self.chunks += frame.chunks();
        let begun = match &mut self.begun {
            Some(begun) => begun,
            None => self.begun.insert(begin(&self.seal, self.session, self.content)?),
        };
        if let Some(key) = &begun.1.key {
            key.seal(Part::Frame(self.frames.len() as u32), &[], &mut frame.bytes)?;
        }
        self.frames.push(frame);
        Ok(finished)
    }

    /// Finishes the pack, if anything was added since the last one; the builder is empty then.
    ///
    /// # Errors
    /// [`Error::Cipher`].
    pub fn finish(&mut self) -> Result<Option<FinishedPack>, Error> {
        let Some((id, Opening { bytes: beginning, key })) = self.begun.take() else { return Ok(None) };
        let frames = std::mem::take(&mut self.frames);
        (self.bytes, self.chunks) = (0, 0);
        let mut lists = Lists::default();
        for frame in &frames {
            lists.frames.push(frame.entry);
            for chunk in &frame.chunks {
                lists.ids.push(chunk.id);
                lists.lengths.push(chunk.length);
            }
            lists.hashes.extend_from_slice(&frame.hashes);
        }
        let directory = Directory::new(("a new pack", 0), lists, self.seal.framing(), true)?;
        let mut directory_bytes = directory.encode()?;
        if let Some(key) = key {
            key.seal(Part::Directory, &[], &mut directory_bytes)?;
        }
        let mut footer = [0; 64];
        footer[0..8].copy_from_slice(&directory.end().to_le_bytes());
        footer[8..12].copy_from_slice(&(directory_bytes.len() as u32).to_le_bytes());
        footer[12..16].copy_from_slice(&(directory.ids().len() as u32).to_le_bytes());
        let header = beginning.get(..HEADER_BYTES).unwrap_or_default();
        let sum = checksum(&[header, &directory_bytes, &footer[..16]]);
        footer[16..48].copy_from_slice(&sum);
        // 48..56 is reserved, and zero.
        footer[56..64].copy_from_slice(&FOOTER_MAGIC);
        let object_bytes = directory.end() + (directory_bytes.len() + footer.len()) as u64;
        let frames = frames.into_iter().map(|frame| Bytes::from(frame.bytes));
        let end = [Bytes::from(directory_bytes), Bytes::copy_from_slice(&footer)];
        let parts = [Bytes::from(beginning)].into_iter().chain(frames).chain(end).collect();
        Ok(Some(FinishedPack { id, content: self.content, directory, parts, object_bytes }))
    }
}

fn begin(seal: &Seal, session: SessionId, content: Content) -> Result<(PackId, Opening), Error> {
    let id = PackId::random()?;
    let kind = match content {
        Content::Data => Kind::DataPack,
        Content::Map => Kind::MapPack,
    };
    let header = Header { kind, repository: seal.repository(), id: *id.as_bytes(), session };
    Ok((id, seal.begin(&header)?))
}

impl FinishedPack {
    /// The pack's name.
    pub fn id(&self) -> PackId {
        self.id
    }

    /// What it holds: volume data or map nodes.
    pub fn content(&self) -> Content {
        self.content
    }

    /// Length of the whole object in bytes.
    pub fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    /// What it holds.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What it says of itself.
    pub(crate) fn description(&self) -> Description {
        let beginning = self.parts.first().map(|part| part.to_vec()).unwrap_or_default();
        let end = self.parts.get(self.parts.len().saturating_sub(2)..).map(<[Bytes]>::concat).unwrap_or_default();
        Description { beginning, end, object_bytes: self.object_bytes }
    }

    /// The object's bytes, in parts that follow each other: header (and, where the pack is sealed, salt), frames, directory, footer.
    pub(crate) fn parts(&self) -> &[Bytes] {
        &self.parts
    }
}
