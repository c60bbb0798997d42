//! Copying what lives out of packs.

use std::collections::BTreeSet;

use crate::ahead::Ahead;
use crate::error::Error;
use crate::gc::{Observer, Progress};
use crate::id::{Ids, PackId};
use crate::layout;
use crate::pack::frame::{self, Compression, EncodedFrame, FrameChunk};
use crate::pack::{Content, Description, FinishedPack, PackBuilder, PackReader, moved};
use crate::repository::Repository;
use crate::session::Session;
use crate::usage::Reached;

/// Bytes up to which a pack is read in one request, whatever lives in it: more than a small pack has.
const WHOLE_BYTES: u64 = 4 << 20;

/// Bytes of packs that are read ahead, if the storage wants several requests at once.
const BYTES_AHEAD: u64 = 16 << 20;

/// What became of the packs that were to be copied out of.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// All that is marked in them has another copy now.
    pub done: Vec<PackId>,
    /// They are gone: another collector was quicker.
    pub gone: Vec<PackId>,
    /// Not everything in them can be read.
    pub damage: Vec<Error>,
    /// Slots and whole packs that were newly noted as damaged. Marks may be on them: what is marked in them may have another copy.
    pub noted: u64,
}

/// What became of the reading of a pack. That something could not be written is no part of it: it ends the collection, since what is lost then was of other
/// packs, too.
enum Outcome {
    /// All that was wanted was read.
    Read,
    Gone,
    /// These slots could not be read, the first of them for this reason.
    Wrong(BTreeSet<u32>, Error),
    /// The directory could not be read.
    Broken(Error),
}

impl Outcome {
    /// Of a pack whose directory could not be read.
    fn of_pack(error: Error) -> Result<Self, Error> {
        match error {
            error if is_gone(&error) => Ok(Outcome::Gone),
            error if error.is_damage() => Ok(Outcome::Broken(error)),
            error => Err(error),
        }
    }
}

fn is_gone(error: &Error) -> bool {
    match error {
        Error::PackMissing { .. } => true,
        Error::Backend(error) => error.is_not_found(),
        _ => false,
    }
}

/// What is copied of packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// What is marked.
    Marked,
    /// All that is in them. A chunk that is not marked may be the second copy of one that is, and the first may be damaged without anybody's knowing yet: packs
    /// that would have stayed, if they were not small, lose nothing.
    All,
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

/// Copies everything in `packs`, or all that is marked in them, into packs of `session`, and moves the marks. Durable, with a segment, when this
/// returns. Frames that live whole are neither compressed anew nor hashed anew; every chunk is checked. `packs` come with their bytes.
///
/// What is found to be wrong is noted, for all: from then on another copy of it is marked, if there is one, also in a pack that is about to go, and a
/// backup that meets it stores it again. A pack that is damaged for want of any other copy is not copied out of a second time.
pub(super) fn copy_live(
    repository: &Repository,
    session: &Session<'_>,
    reached: &mut Reached,
    (packs, what): (&[(PackId, u64)], What),
    observer: &Observer<'_>,
) -> Result<Copied, Error> {
    let mut copied = Copied::default();
    let (data, map) = (session.pack_builder(Content::Data), session.pack_builder(Content::Map));
    let mut copier = Copier { repository, session, data, map, written: Vec::new() };
    let (mut rest, mut numbers) = (packs, 0..);
    while !rest.is_empty() {
        let count = read_together(rest, repository.backend().requests_in_flight());
        let (together, after) = rest.split_at(count);
        rest = after;
        let mut read = Ahead::new(count, together, |(id, bytes)| Opened::read(repository, *id, *bytes));
        while let Some(((id, _), opened)) = read.next() {
            let done = numbers.next().unwrap_or_default();
            observer.tell(&Progress::Copying { done, total: packs.len() as u64 })?;
            let outcome = match opened {
                Ok(opened) => copier.copy(&opened, (reached, what))?,
                Err(error) => Outcome::of_pack(error)?,
            };
            copier.note(id, outcome, &mut copied)?;
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

/// How many of these packs, one at least, are read ahead.
fn read_together(packs: &[(PackId, u64)], in_flight: usize) -> usize {
    let mut all = 0;
    let fitting = packs.iter().take_while(|(_, bytes)| {
        all += bytes.min(&WHOLE_BYTES);
        all <= BYTES_AHEAD
    });
    fitting.count().min(in_flight).max(1)
}

/// A pack that is copied out of.
struct Opened {
    pack: PackReader,
    /// The whole pack, where it was read at once.
    whole: Option<Vec<u8>>,
}

impl Opened {
    fn read(repository: &Repository, id: PackId, bytes: u64) -> Result<Self, Error> {
        if bytes > WHOLE_BYTES {
            return Ok(Self { pack: repository.pack_with_hashes(id)?, whole: None });
        }
        let (backend, seal) = (repository.backend(), repository.seal());
        let name = layout::pack(id)?;
        let whole = match backend.get(&name, WHOLE_BYTES) {
            // Frame by frame, more of it may be read.
            Err(error) if error.is_unreadable() => {
                return Ok(Self { pack: repository.pack_with_hashes(id)?, whole: None });
            }
            read => read?,
        };
        let description = Description::of_whole(name.as_str(), &whole, seal.beginning_bytes())?;
        Ok(Self { pack: PackReader::described(seal, id, &description)?, whole: Some(whole) })
    }

    /// A frame's stored bytes, without a seal, and its plain ones.
    fn frame(
        &self,
        repository: &Repository,
        number: u32,
        stored: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let Some(whole) = &self.whole else { return repository.read_frame(&self.pack, number, stored, plain) };
        let range = self.pack.range_of(number)?;
        stored.clear();
        // The directory was checked: its frames are in the pack.
        stored.extend_from_slice(whole.get(range.start as usize..range.end as usize).unwrap_or_default());
        self.pack.decode_alone(number, stored, plain)
    }
}

impl Copier<'_> {
    /// Copies all that can be read of a pack.
    fn copy(&mut self, opened: &Opened, (reached, what): (&Reached, What)) -> Result<Outcome, Error> {
        let pack = &opened.pack;
        let mut outcome = Outcome::Read;
        let (mut stored, mut plain) = (Vec::new(), Vec::new());
        for number in 0..pack.directory().frames().len() as u32 {
            let Some(entry) = pack.directory().frames().get(number as usize).copied() else { continue };
            let first = pack.directory().first_slot(number).unwrap_or(0);
            let lives = |slot| what == What::All || reached.is_marked(pack.id(), slot);
            let live: Vec<bool> = (first..first + entry.chunks).map(lives).collect();
            if !live.contains(&true) {
                continue;
            }
            let ids = self.repository.ids();
            let read = opened.frame(self.repository, number, &mut stored, &mut plain);
            let frame = read.and_then(|()| match live.contains(&false) {
                true => living(ids, pack, number, &live, &plain),
                false => moved::keep(ids, pack, number, &stored, &plain),
            });
            match frame {
                Ok(frame) => self.push(pack.content(), frame)?,
                Err(error) if is_gone(&error) => return Ok(Outcome::Gone),
                Err(error) if error.is_damage() => {
                    let slots = (first..).zip(live).filter_map(|(slot, lives)| lives.then_some(slot));
                    match &mut outcome {
                        Outcome::Wrong(wrong, _) => wrong.extend(slots),
                        _ => outcome = Outcome::Wrong(slots.collect(), error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(outcome)
    }

    /// Says what became of a pack, and notes what is wrong in it, if it is when it is read again.
    fn note(&self, id: PackId, outcome: Outcome, copied: &mut Copied) -> Result<(), Error> {
        let (repository, session) = (self.repository, Some(self.session.id()));
        let (noted, error) = match outcome {
            Outcome::Read => {
                copied.done.push(id);
                return Ok(());
            }
            Outcome::Gone => {
                copied.gone.push(id);
                return Ok(());
            }
            Outcome::Wrong(slots, error) => match repository.confirm_damage(id, &slots) {
                Err(Error::PackMissing { .. }) => return self.note(id, Outcome::Gone, copied),
                again => (repository.note_damage(session, id, &again?.wrong).map(|noted| noted as u64), error),
            },
            Outcome::Broken(error) => match repository.confirm_broken_pack(id)? {
                Some(true) => (repository.note_broken_pack(session, id).map(u64::from), error),
                Some(false) => (Ok(0), error),
                None => return self.note(id, Outcome::Gone, copied),
            },
        };
        copied.damage.push(error);
        copied.noted += match noted {
            // Room is what others may be collecting for.
            Err(Error::Backend(cinderblock_backend::Error::NoSpace { .. })) => 0,
            noted => noted?,
        };
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
