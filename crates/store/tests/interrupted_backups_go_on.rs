//! A backup whose process was killed leaves packs that no segment names. The next one does not send again what segments name, and these come early and
//! often enough.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cinderblock_backend::{Faulty, Kind, Memory, Rule};
use cinderblock_store::{Clock, OpenOptions, Repository, Timestamp};
use common::*;

/// Incompressible chunks in a pack.
const PACK_CHUNKS: usize = 4;

fn plan() -> Plan {
    Plan { pack_bytes: PACK_CHUNKS * CHUNK - 100, ..Plan::new() }
}

fn packs(storage: &Memory) -> usize {
    objects(storage, "packs/").len()
}

/// Kills a backup after it has stored so many packs; those that the next one of the same volume stores, of 40.
fn stored_again(killed_after: u64, clock: Arc<dyn Clock>) -> Result<usize, Box<dyn std::error::Error>> {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    // The index is there, and knows nothing of the packs to come: it is no rebuild that finds them.
    back_up(&open(storage.clone(), cache.path())?, &volume("other"), &noise(7, CHUNK), &plan())?;
    let before = packs(&storage);
    let bytes = noise(1, 40 * PACK_CHUNKS * CHUNK);

    let faulty = Arc::new(Faulty::new(storage.clone()));
    let stored = AtomicU64::new(0);
    faulty.add(Rule::any().when(move |request| {
        let is_pack = request.kind == Kind::Put && request.name.starts_with("packs/");
        stored.fetch_add(u64::from(is_pack), Ordering::Relaxed) + u64::from(is_pack) > killed_after
    }));
    let killed = Repository::open(faulty, &OpenOptions { clock, ..OpenOptions::new(cache.path()) })?;
    assert!(back_up(&killed, &volume("vm"), &bytes, &plan()).is_err());
    drop(killed);
    assert_eq!(packs(&storage) - before, killed_after as usize);

    let repository = open(storage.clone(), cache.path())?;
    let again = plan();
    back_up(&repository, &volume("vm"), &bytes, &again)?;
    assert_backup(&repository, &volume("vm"), again.id, &bytes);
    Ok(packs(&storage) - before - killed_after as usize)
}

/// It sent all of 63 packs again, some 2 GB: the first segment came with the 64th.
#[test]
fn a_killed_backup_sends_little_again() -> TestResult {
    for (killed_after, named) in [(7, 0), (8, 8), (23, 8), (24, 24), (39, 24)] {
        let again = stored_again(killed_after, Arc::new(cinderblock_store::SystemClock))?;
        assert_eq!(again, 40 - named, "killed after {killed_after} packs");
        assert!(killed_after as usize - named < named + 8, "no more is lost than is kept, and some packs");
    }
    Ok(())
}

/// A clock on which 45 seconds pass between two looks.
#[derive(Debug, Default)]
struct Slow(AtomicU64);

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        let looks = self.0.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_microseconds(Timestamp::now().microseconds() + looks as i64 * 45_000_000)
    }

    fn sleep(&self, _: Duration) {}
}

#[test]
fn on_a_slow_line_a_segment_names_what_there_is() -> TestResult {
    // The look that is about the second pack comes more than a minute after that about the first.
    assert_eq!(stored_again(3, Arc::new(Slow::default()))?, 38);
    Ok(())
}
