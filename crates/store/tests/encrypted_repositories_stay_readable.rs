//! An encrypted repository of format version 1, as it was written when encryption was made. It is kept for ever: every later program reads
//! every byte of it.
//!
//! `golden/v1-encrypted/repository` is the repository, `key` its key file; its passphrase is `PASSPHRASE`. `backups` has a line for each
//! backup: its volume, its id, the volume's length in bytes and the BLAKE3 hash of its bytes.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cinderblock_backend::{Backend, Folder, Memory};
use cinderblock_chunker::ChunkSize;
use cinderblock_store::map::Shape;
use cinderblock_store::{Error, Method, OpenOptions, Repository, Secret, VolumeId};
use common::*;
use zeroize::Zeroizing;

const PASSPHRASE: &str = "golden, and kept for ever";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1-encrypted")
}

fn passphrase(text: &str) -> Secret {
    Secret::passphrase(Zeroizing::new(text.as_bytes().to_vec())).expect("a passphrase")
}

fn key_file() -> Secret {
    Secret::key_file(&std::fs::read(golden().join("key")).expect("the key file")).expect("a key")
}

fn copy() -> Result<Arc<Memory>, cinderblock_backend::Error> {
    Ok(fork(&Folder::open(golden().join("repository"))?))
}

fn open_with(storage: Arc<dyn Backend>, cache: &Path, secret: Secret) -> Result<Repository, Error> {
    Repository::open(storage, &OpenOptions { secret: Some(secret), ..OpenOptions::new(cache) })
}

#[test]
fn every_byte_of_every_backup_is_read_with_either_key() -> TestResult {
    for secret in [key_file(), passphrase(PASSPHRASE)] {
        let cache = tempfile::tempdir()?;
        let repository = open_with(copy()?, cache.path(), secret)?;
        let text = std::fs::read_to_string(golden().join("backups"))?;
        assert_eq!(repository.backups(None)?.len(), text.lines().count());
        for line in text.lines() {
            let [name, id, length, hash] = line.split(' ').collect::<Vec<_>>()[..] else { return Err(line.into()) };
            let (volume, id) = (VolumeId::new(name)?, id.parse()?);
            assert!(repository.backups(Some(&volume))?.contains(&(volume.clone(), id)));
            let record = repository.record(&volume, id)?;
            assert_eq!(record.volume_bytes, length.parse::<u64>()?);
            assert_eq!(blake3::hash(&read_backup(&repository, &record)?).to_hex().as_str(), hash, "{line}");
        }
        let report = repository.rebuild_index()?;
        assert!(report.damage.is_empty() && report.segments > 0, "{report:?}");
        let slots = repository.key_slots()?.slots;
        let found: Vec<_> = slots.iter().map(|slot| (slot.method, slot.label.as_str())).collect();
        assert_eq!(found, [(Method::KeyFile, "the first"), (Method::Passphrase, "the second")]);
    }
    Ok(())
}

#[test]
fn without_its_key_nothing_is_opened() -> TestResult {
    let cache = tempfile::tempdir()?;
    let storage = copy()?;
    let opened =
        |secret| Repository::open(storage.clone(), &OpenOptions { secret, ..OpenOptions::new(cache.path()) }).map(drop);
    assert!(matches!(opened(None), Err(Error::Locked { .. })));
    assert!(matches!(opened(Some(passphrase("golden"))), Err(Error::WrongSecret { method: Method::Passphrase, .. })));
    let other = Secret::generate_key_file()?;
    assert!(matches!(opened(Some(other)), Err(Error::WrongSecret { method: Method::KeyFile, .. })));
    for name in objects(&*storage, "keys/") {
        storage.delete(&name)?;
    }
    assert!(matches!(opened(Some(key_file())), Err(Error::NoKeys { .. })));
    Ok(())
}

/// Who replaced the descriptor would otherwise be told all that is written from then on.
#[test]
fn a_secret_is_not_given_to_a_repository_that_says_it_needs_none() -> TestResult {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir()?);
    create(&*storage)?;
    let opened = open_with(storage, cache.path(), key_file());
    assert!(matches!(opened, Err(Error::NotEncrypted { .. })));
    Ok(())
}

#[test]
fn keys_are_added_rotated_and_removed_but_not_the_one_in_use() -> TestResult {
    let (storage, cache) = (copy()?, tempfile::tempdir()?);
    let open = |secret| open_with(storage.clone(), cache.path(), secret);
    let repository = open(key_file())?;
    let slots = repository.key_slots()?.slots;
    let (own, other) = (slots[0].id, slots[1].id);
    assert!(slots[0].in_use && !slots[1].in_use);
    assert!(matches!(repository.remove_key(own), Err(Error::KeyInUse { id }) if id == own));
    repository.remove_key(other)?;
    assert!(matches!(repository.remove_key(other), Err(Error::KeyNotFound { .. })));
    assert!(open(passphrase(PASSPHRASE)).is_err());
    let added = repository.add_key(&passphrase("another"), "x")?;
    let second = open(passphrase("another"))?;
    let rotated = second.rotate_key(&passphrase("better"), None)?;
    assert_ne!(rotated, added);
    assert!(open(passphrase("another")).is_err());
    let third = open(passphrase("better"))?;
    let labels: Vec<_> = third.key_slots()?.slots.into_iter().map(|slot| (slot.label, slot.in_use)).collect();
    assert_eq!(labels, [("the first".to_owned(), false), ("x".to_owned(), true)]);
    // One that was removed by somebody else meanwhile is not relied on.
    third.remove_key(own)?;
    assert!(matches!(repository.rotate_key(&passphrase("late"), None), Err(Error::KeyNotFound { id }) if id == own));
    assert_eq!(third.backups(None)?.len(), 3);
    Ok(())
}

/// Every object in the place of every other one of its kind, each with the header that belongs there: as whoever has the bucket can put
/// them. No backup gives another byte than its own, and nothing panics.
#[test]
fn objects_in_each_others_place_give_no_other_byte() -> TestResult {
    let good = copy()?;
    let names = objects(&*good, "");
    let folder = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
    let cache = tempfile::tempdir()?;
    let whole = open_with(good.clone(), cache.path(), key_file())?;
    let mut expected = Vec::new();
    for (volume, id) in whole.backups(None)? {
        let bytes = read_backup(&whole, &whole.record(&volume, id)?)?;
        expected.push((volume, id, bytes));
    }
    let mut refused = 0;
    for to in &names {
        for from in names.iter().filter(|from| *from != to && folder(from.as_str()) == folder(to.as_str())) {
            let storage = fork(&*good);
            storage.delete(to)?;
            storage.put(to, &[&good.get(from, 1 << 20)?])?;
            let cache = tempfile::tempdir()?;
            let Ok(repository) = open_with(storage, cache.path(), key_file()) else {
                refused += 1;
                continue;
            };
            for (volume, id, bytes) in &expected {
                match repository.record(volume, *id).map(|record| read_backup(&repository, &record)) {
                    Ok(Ok(read)) => assert!(read == *bytes, "{from} in the place of {to}"),
                    _ => refused += 1,
                }
            }
        }
    }
    assert!(refused > 10, "{refused}");
    Ok(())
}

/// Writes the golden repository anew: for a format that nobody has used yet. Once it was released, it stays as it is. Run with
/// `cargo test -p cinderblock-store --test encrypted_repositories_stay_readable -- --ignored`.
#[test]
#[ignore = "overwrites the golden repository"]
fn write_the_golden_repository() -> TestResult {
    let folder = golden();
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let (storage, cache) = (Arc::new(Folder::create(folder.join("repository"))?), tempfile::tempdir()?);
    let secret = Secret::generate_key_file()?;
    std::fs::write(folder.join("key"), secret.key_file_text().ok_or("no text")?.as_bytes())?;
    Repository::create_encrypted(&*storage, ChunkSize::MINIMUM, &secret, "the first")?;
    let repository = open_with(storage.clone(), cache.path(), secret)?;
    repository.add_key(&passphrase(PASSPHRASE), "the second")?;
    let fixed = sparse_volume(1);
    let mut changed = fixed.clone();
    changed[..CHUNK].copy_from_slice(&prose(77, CHUNK));
    let variable = prose(5, 9 * CHUNK + 77);
    let mut list = String::new();
    let first = Plan { chunks_per_frame: 3, ..Plan::new() };
    let second = Plan { created_at: first.created_at + 1_000_000, ..Plan::new() };
    let third = Plan { shape: Shape::Variable, chunks_per_frame: 64, ..Plan::new() };
    for (name, bytes, plan) in [("vm-1", &fixed, &first), ("vm-1", &changed, &second), ("stream", &variable, &third)] {
        let session = repository.start_session("a golden backup")?;
        let mut record = write_all_but_record(&repository, &session, &volume(name), bytes, plan)?;
        session.commit(&mut record)?;
        repository.refresh_index()?;
        list += &format!("{name} {} {} {}\n", plan.id, bytes.len(), blake3::hash(bytes).to_hex());
    }
    std::fs::write(folder.join("backups"), list)?;
    Ok(())
}
