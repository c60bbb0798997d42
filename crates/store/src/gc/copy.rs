//! Copying what lives out of packs.

use crate::error::Error;
use crate::gc::{Observer, Progress};
use crate::id::{Ids, PackId};
use crate::pack::frame::{self, Compression, EncodedFrame, FrameChunk};
use crate::pack::{Content, FinishedPack, PackBuilder, PackReader, moved};
use crate::repository::Repository;
use crate::session::Session;
use crate::usage::Reached;

/// What became of the packs that were to be copied out of.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// All that is marked in them has another copy now.
    pub done: Vec<PackId>,
    /// They are gone: another collector was quicker.
    pub gone: Vec<PackId>,
    /// Not everything in them can be read.
    pub damage: Vec<Error>,
}

/// Copies into packs of a session.
struct Copier<'a> {
    repository: &'a Repository,
    session: &'a Session<'a>,
    data: PackBuilder,
    map: PackBuilder,
    /// Packs that were written.
    written: Vec<(PackId, usize)>,
}

/// Copies everything that is marked in `packs` into packs of `session`, and moves the marks. Durable, with a segment, when this
/// returns. Frames that live whole are neither compressed anew nor hashed anew; every chunk is checked.
pub(super) fn copy_live(
    repository: &Repository,
    session: &Session<'_>,
    reached: &mut Reached,
    packs: &[PackId],
    observer: &Observer<'_>,
) -> Result<Copied, Error> {
    let mut copied = Copied::default();
    let (data, map) = (session.pack_builder(Content::Data), session.pack_builder(Content::Map));
    let mut copier = Copier { repository, session, data, map, written: Vec::new() };
    for (done, id) in (0..).zip(packs) {
        observer.tell(&Progress::Copying { done, total: packs.len() as u64 })?;
        match copier.copy(*id, reached) {
            Ok(()) => copied.done.push(*id),
            Err(Error::PackMissing { .. }) => copied.gone.push(*id),
            Err(Error::Backend(error)) if error.is_not_found() => copied.gone.push(*id),
            Err(error) if error.is_damage() => copied.damage.push(error),
            Err(error) => return Err(error),
        }
    }
    copier.finish()?;
    for (id, slots) in copier.written {
        reached.mark_all(id, slots);
    }
    for id in &copied.done {
        reached.unmark_all(*id);
    }
    Ok(copied)
}

impl Copier<'_> {
    fn copy(&mut self, id: PackId, reached: &Reached) -> Result<(), Error> {
        let pack = self.repository.pack_with_hashes(id)?;
        let (mut stored, mut plain) = (Vec::new(), Vec::new());
        for number in 0..pack.directory().frames().len() as u32 {
            let Some(entry) = pack.directory().frames().get(number as usize).copied() else { continue };
            let first = pack.directory().first_slot(number).unwrap_or(0);
            let live: Vec<bool> = (first..first + entry.chunks).map(|slot| reached.is_marked(id, slot)).collect();
            if !live.contains(&true) {
                continue;
            }
            self.repository.read_frame(&pack, number, &mut stored, &mut plain)?;
            let frame = match live.contains(&false) {
                true => living(self.repository.ids(), &pack, number, &live, &plain)?,
                false => moved::keep(self.repository.ids(), &pack, number, &stored, &plain)?,
            };
            self.push(pack.content(), frame)?;
        }
        Ok(())
    }

    fn push(&mut self, content: Content, frame: EncodedFrame) -> Result<(), Error> {
        let builder = match content {
            Content::Data => &mut self.data,
            Content::Map => &mut self.map,
        };
        if let Some(pack) = builder.push(frame)? {
            self.store(&pack)?;
        }
        Ok(())
    }

    fn store(&mut self, pack: &FinishedPack) -> Result<(), Error> {
        self.session.store_pack(pack)?;
        self.written.push((pack.id(), pack.directory().ids().len()));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        for last in [self.data.finish()?, self.map.finish()?].into_iter().flatten() {
            self.store(&last)?;
        }
        self.session.flush()
    }
}

/// A new frame of those chunks of a frame that live, each checked against its id, with the hashes that they have.
fn living(ids: &Ids, pack: &PackReader, number: u32, live: &[bool], plain: &[u8]) -> Result<EncodedFrame, Error> {
    let directory = pack.directory();
    let damaged = |reason: String| Error::damaged(pack.object(), directory.frame_offset(number).unwrap_or(0), reason);
    let (mut chunks, mut kept, mut kept_hashes) = (Vec::new(), Vec::new(), Vec::new());
    let hashes = directory.frame_hashes(number);
    for (place, ((id, chunk), live)) in directory.frame_chunks(number).zip(live).enumerate() {
        if !live {
            continue;
        }
        let from = chunk.offset as usize;
        let bytes = plain.get(from..from + chunk.length as usize).unwrap_or_default();
        if !ids.is_authentic(pack.content(), &id, bytes) {
            return Err(damaged(format!("chunk {id} has other bytes")));
        }
        chunks.push(FrameChunk { id, length: chunk.length });
        kept.extend_from_slice(bytes);
        kept_hashes.extend(hashes.get(place).copied());
    }
    match hashes.is_empty() {
        true => frame::encode(&kept, chunks, false, Compression::default()),
        false => moved::gather(&kept, chunks, kept_hashes, Compression::default()),
    }
}
