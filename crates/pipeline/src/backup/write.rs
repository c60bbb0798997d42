//! The writer threads: each stores one pack after the other, and the segments that name them.

use cinderblock_store::pack::FinishedPack;
use cinderblock_store::{ChunkId, Error as StoreError, Repository, Session};
use crossbeam_channel::{Receiver, Sender};

use crate::backup::flow::Event;

/// Stores what comes until the channel is closed or something fails.
pub(super) fn run(
    repository: &Repository,
    session: &Session<'_>,
    packs: &Receiver<FinishedPack>,
    events: &Sender<Event>,
) {
    let _lost = TellOfPanic(events);
    let indexed = |ids| drop(events.send(Event::Indexed(ids)));
    if let Err(error) = store_all(repository, session, packs, indexed) {
        // Nobody listens only where the backup has failed already.
        let _ = events.send(Event::Failed(error.into()));
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

/// Stores packs until the channel is closed; any number of threads may do so with one channel. Tells `indexed` of the chunks that the index finds from then on.
pub(crate) fn store_all(
    repository: &Repository,
    session: &Session<'_>,
    packs: &Receiver<FinishedPack>,
    indexed: impl Fn(Vec<ChunkId>),
) -> Result<(), StoreError> {
    for pack in packs {
        let in_segment = session.store_pack(&pack)?;
        drop(pack);
        if let Some(chunks) = in_segment {
            // From here on the index finds these chunks, and the collector may forget them: that bounds its memory.
            // Opened here, it is ready when a worker needs it.
            repository.refresh_index()?;
            indexed(chunks);
        }
    }
    Ok(())
}
