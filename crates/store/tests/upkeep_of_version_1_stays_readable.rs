//! A repository of format version 1 in the middle of its upkeep, kept for ever: with marks, a note of damage, a scrub's cursor, a
//! session that crashed, a tombstone, and a collection that waits. `repositories_of_version_1_stay_readable.rs` has its backups.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cinderblock_backend::{Backend, Folder, Memory};
use cinderblock_store::gc::{GcOptions, GcReport, Observer};
use cinderblock_store::pack::Content;
use cinderblock_store::pack::frame::{self, Compression, FrameChunk};
use cinderblock_store::{
    BackupId, ChunkId, Damage, PackId, Repository, Role, Round, Scrub, Session, SessionId, Timestamp, VolumeId,
};
use common::*;

const PROTECTED_UNTIL: Timestamp = Timestamp::from_microseconds(4_102_444_800_000_000);
const FOUND: Damage =
    Damage { chunks: 3, bytes: 12_288, found_at: Timestamp::from_microseconds(1_790_000_000_000_000) };

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1-upkeep")
}

/// The repository in memory, so that nothing in the source folder can change.
fn copy() -> Result<Arc<Memory>, cinderblock_backend::Error> {
    Ok(fork(&Folder::open(golden().join("repository"))?))
}

/// What the names of things are, which a line each tells: `name value`.
fn named(name: &str) -> String {
    let text = std::fs::read_to_string(golden().join("names")).expect("the names");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.trim().to_owned()
}

fn backups(repository: &Repository) -> Result<Vec<(VolumeId, BackupId)>, Box<dyn std::error::Error>> {
    let mut backups = repository.backups(None)?;
    backups.sort();
    Ok(backups)
}

fn scrub(position: PackId) -> Scrub {
    let at = |seconds: i64| Timestamp::from_microseconds(1_790_000_000_000_000 + seconds * 1_000_000);
    Scrub {
        rounds: 2,
        began_at: at(100),
        position: Some(position),
        covered_bytes: 5000,
        total_bytes: 20_000,
        last_round: Some(Round { began_at: at(0), ended_at: at(100) }),
        written_at: at(150),
    }
}

fn collect(repository: &Repository, fence_after: Duration) -> Result<GcReport, cinderblock_store::Error> {
    let options = GcOptions { grace: Duration::ZERO, fence_after, repack_below: 0, ..GcOptions::default() };
    repository.collect_garbage(&options, &Observer::new(&|_| true))
}

const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

#[test]
fn marks_notes_and_cursors_say_what_they_said() -> TestResult {
    let cache = tempfile::tempdir()?;
    let repository = open(copy()?, cache.path())?;
    let [(first, first_id), (second, second_id), ..] = &backups(&repository)?[..] else { panic!("three backups") };
    let mark = repository.mark(first, *first_id)?.ok_or("no mark")?;
    assert_eq!((mark.protected, mark.protected_until, mark.damaged), (true, Some(PROTECTED_UNTIL), None));
    let mark = repository.mark(second, *second_id)?.ok_or("no mark")?;
    assert_eq!((mark.protected, mark.damaged), (false, Some(FOUND)));
    let pack: PackId = named("noted").parse()?;
    let wrong = repository.damaged_slots(pack)?;
    assert!(wrong.contains(0) && !wrong.contains(1) && !wrong.is_whole());
    let scrubs = repository.scrubs()?;
    assert_eq!(scrubs.furthest, Some(scrub(pack)));
    assert!(scrubs.unreadable.is_empty());
    Ok(())
}

#[test]
fn who_is_at_work_is_told() -> TestResult {
    let cache = tempfile::tempdir()?;
    let repository = open(copy()?, cache.path())?;
    let sessions = repository.sessions()?;
    let [session] = &sessions[..] else { panic!("{sessions:?}") };
    assert_eq!(session.id, named("crashed").parse::<SessionId>()?);
    assert_eq!((session.role, session.activity.as_str()), (Role::Writer, "backup of a volume"));
    assert!(!session.damaged && session.renewed_at.is_some());
    Ok(())
}

#[test]
fn the_collection_waits_and_is_finished() -> TestResult {
    let (storage, cache) = (copy()?, tempfile::tempdir()?);
    let repository = open(storage.clone(), cache.path())?;
    let tombstones = objects(&*storage, "tombstones/").len();
    assert_eq!(tombstones, 1);
    let waits = collect(&repository, NEVER)?;
    assert_eq!((waits.pending, waits.deleted, waits.waiting.len()), (1, 0, 1));
    // The session gave no sign of life since the golden repository was made.
    let done = collect(&repository, Duration::ZERO)?;
    assert_eq!((done.pending, done.deleted, done.ended.len()), (0, 1, 1));
    assert!(done.damage.is_empty() && done.doubts.is_empty() && done.missing == 0, "{done:?}");
    assert_eq!(objects(&*storage, "tombstones/").len(), tombstones + 1);
    for prefix in ["gc/", "sessions/", "fences/", "damage/"] {
        assert!(objects(&*storage, prefix).is_empty(), "{prefix}");
    }
    for (volume, id) in backups(&repository)? {
        read_backup(&repository, &repository.record(&volume, id)?)?;
    }
    Ok(())
}

/// Stores a pack that no backup needs.
fn store_garbage(session: &Session<'_>) -> Result<PackId, Box<dyn std::error::Error>> {
    let mut packs = session.pack_builder(Content::Data);
    let plain = [noise(900, CHUNK), noise(901, CHUNK)].concat();
    let listed = plain.chunks(CHUNK).map(|chunk| FrameChunk { id: ChunkId::of(chunk), length: CHUNK as u32 }).collect();
    assert!(packs.push(frame::encode(&plain, listed, true, Compression::default())?)?.is_none());
    let pack = packs.finish()?.ok_or("no pack")?;
    session.store_pack(&pack)?;
    session.flush()?;
    Ok(pack.id())
}

/// Writes the golden repository anew, under other ids: for a format that nobody has used yet. Once it was released, it
/// stays as it is, and a new version gets a folder of its own. Run with
/// `cargo test -p cinderblock-store --test upkeep_of_version_1_stays_readable -- --ignored`.
#[test]
#[ignore = "overwrites the golden repository"]
fn write_the_golden_repository() -> TestResult {
    let folder = golden();
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let backups_only = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1/repository");
    let from = Folder::open(backups_only)?;
    let to = Arc::new(Folder::create(folder.join("repository"))?);
    for name in objects(&from, "") {
        to.put(&name, &[&from.get(&name, 1 << 20)?])?;
    }
    let cache = tempfile::tempdir()?;
    let repository = open(to.clone(), cache.path())?;
    let [(first, first_id), (second, second_id), ..] = &backups(&repository)?[..] else { panic!("three backups") };
    repository.set_mark(first, *first_id, |mark| {
        (mark.protected, mark.protected_until) = (true, Some(PROTECTED_UNTIL));
    })?;
    repository.set_mark(second, *second_id, |mark| mark.damaged = Some(FOUND))?;
    // A session that was declared ended.
    std::mem::forget(repository.start_session("a backup that crashed long ago")?);
    assert_eq!(collect(&repository, Duration::ZERO)?.ended.len(), 1);
    let session = repository.start_session("a backup that failed")?;
    let pack = store_garbage(&session)?;
    repository.note_damage(Some(session.id()), pack, &[0].into())?;
    drop(session);
    repository.put_scrub(&scrub(pack))?;
    let crashed = repository.start_session("backup of a volume")?;
    let crashed_id = crashed.id();
    std::mem::forget(crashed);
    assert_eq!(collect(&repository, NEVER)?.pending, 1);
    std::fs::write(folder.join("names"), format!("noted {pack}\ncrashed {crashed_id}\n"))?;
    Ok(())
}
