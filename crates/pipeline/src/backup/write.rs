//! The writer thread: packs, one after the other, and the segments that name them.

use cinderblock_store::pack::FinishedPack;
use cinderblock_store::{ChunkId, Repository, Session};
use crossbeam_channel::{Receiver, Sender};

use crate::backup::run::Event;
use crate::error::Error;

/// Stores what comes until the channel is closed or something fails.
pub(super) fn run(
    repository: &Repository,
    session: &Session<'_>,
    packs: &Receiver<FinishedPack>,
    events: &Sender<Event>,
) {
    let _lost = TellOfPanic(events);
    if let Err(error) = store_all(repository, session, packs, events) {
        // Nobody listens only where the backup has failed already.
        let _ = events.send(Event::Failed(error));
    }
}

/// Tells the collector when this thread panics: it would wait for ever for the writer's reason.
struct TellOfPanic<'a>(&'a Sender<Event>);

impl Drop for TellOfPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.send(Event::Lost);
        }
    }
}

fn store_all(
    repository: &Repository,
    session: &Session<'_>,
    packs: &Receiver<FinishedPack>,
    events: &Sender<Event>,
) -> Result<(), Error> {
    let mut since_segment: Vec<ChunkId> = Vec::new();
    for pack in packs {
        let segment_written = session.store_pack(&pack)?;
        since_segment.extend_from_slice(pack.directory().ids());
        if segment_written {
            // From here on the index finds these chunks, and the collector may forget them: that bounds its memory.
            // Opened here, it is ready when a worker needs it.
            repository.refresh_index()?;
            let _ = events.send(Event::Indexed(std::mem::take(&mut since_segment)));
        }
    }
    Ok(())
}
