//! A grid: every kind of object × every kind of damage × every place in it. What is damaged is named with a typed error;
//! a wrong byte is never returned; backups that do not need the damaged object are not harmed.

mod common;

use std::sync::Arc;

use cinderblock_backend::{Backend, Memory, ObjectName};
use cinderblock_store::{BackupId, Error, Kind, Repository};
use common::*;

/// Two volumes that share no chunk, each with a data pack, a map pack, a segment and a record.
struct Pair {
    storage: Arc<Memory>,
    one: (BackupId, Vec<u8>),
    two: (BackupId, Vec<u8>),
}

fn pair() -> Result<Pair, Error> {
    let (storage, cache) = (Arc::new(Memory::new()), tempfile::tempdir().expect("a folder"));
    create(&*storage)?;
    let repository = open(storage.clone(), cache.path())?;
    let mut made = Vec::new();
    for (seed, name) in [(1, "one"), (2, "two")] {
        let bytes = sparse_volume(seed);
        made.push((back_up(&repository, &volume(name), &bytes, &Plan::new())?.id, bytes));
    }
    let two = made.pop().expect("two backups");
    let one = made.pop().expect("two backups");
    Ok(Pair { storage, one, two })
}

fn descriptor() -> ObjectName {
    ObjectName::new("cinderblock.json").expect("a name")
}

/// Every kind of damage that needs no knowledge of the object: a word for it, and the bytes that are left.
fn damages(good: &[u8], swapped: &[u8], foreign: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let end = good.len();
    let steps = (0..end).step_by(end / 23 + 1);
    for length in [0, 1, 8, 63, 64, 65, 95, 96, 127, 128, end - 65, end - 64, end - 33, end - 32, end - 1] {
        if length < end {
            all.push((format!("truncated to {length} of {end}"), good[..length].to_vec()));
        }
    }
    for at in steps.chain([0, 8, 9, 10, 11, 12, 16, 32, 63, 64, end - 64, end - 60, end - 40, end - 9, end - 1]) {
        let mut bytes = good.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << (at % 8);
            all.push((format!("bit flipped in byte {at} of {end}"), bytes));
        }
    }
    all.push(("zeroed".to_owned(), vec![0; end]));
    let (half, zeros) = (end / 2, vec![0; end - end / 2]);
    all.push(("second half zeroed".to_owned(), [&good[..half], &zeros[..]].concat()));
    all.push(("swapped with another".to_owned(), swapped.to_vec()));
    all.push(("from another repository".to_owned(), foreign.to_vec()));
    all.push(("a byte appended".to_owned(), [good, &[0]].concat()));
    all.push(("its own bytes appended".to_owned(), [good, good].concat()));
    all
}

/// Reads every frame of a pack and checks every chunk in it.
fn read_pack(repository: &Repository, name: &ObjectName) -> Result<Vec<Vec<u8>>, Error> {
    let pack = repository.pack(pack_id(name))?;
    let (mut stored, mut plain, mut chunks) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..pack.directory().frames().len() as u32 {
        repository.read_frame(&pack, number, &mut stored, &mut plain)?;
        for (id, place) in pack.directory().frame_chunks(number) {
            let bytes = &plain[place.offset as usize..][..place.length as usize];
            if !repository.ids().is_authentic(pack.content(), &id, bytes) {
                return Err(Error::Damaged {
                    object: name.to_string(),
                    offset: pack.directory().frame_offset(number).expect("a frame of this pack"),
                    reason: "not authentic".to_owned(),
                });
            }
            chunks.push(bytes.to_vec());
        }
    }
    Ok(chunks)
}

#[test]
fn damaged_packs() -> TestResult {
    let (pair, other) = (pair()?, pair()?);
    let cache = tempfile::tempdir()?;
    for kind in [Kind::DataPack, Kind::MapPack] {
        let names = packs_of_kind(&*pair.storage, kind);
        let (target, swapped) = (&names[0], &names[1]);
        let foreign = &packs_of_kind(&*other.storage, kind)[0];
        let good = bytes_of(&*pair.storage, target);
        let mut cases = damages(&good, &bytes_of(&*pair.storage, swapped), &bytes_of(&*other.storage, foreign));
        // Every length and every byte: nothing here needs the index.
        cases.extend((0..good.len()).map(|length| (format!("truncated to {length}"), good[..length].to_vec())));
        cases.extend((0..good.len()).map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x80 >> (at % 8);
            (format!("a bit of byte {at} flipped"), bytes)
        }));
        let storage = fork(&*pair.storage);
        let chunks = read_pack(&open(storage.clone(), cache.path())?, target)?;
        let footer = good.len() - FOOTER;
        let frames = HEADER..u64::from_le_bytes(good[footer..footer + 8].try_into()?) as usize;
        let mut harmless = 0;
        for (case, bytes) in cases {
            overwrite(&*storage, target, &bytes);
            let repository = open(storage.clone(), cache.path())?;
            match read_pack(&repository, target) {
                // zstd has bits that no decoder looks at: every chunk is as it was.
                Ok(read) => {
                    let same_but_frames = bytes.len() == good.len()
                        && bytes[..frames.start] == good[..frames.start]
                        && bytes[frames.end..] == good[frames.end..];
                    assert!(same_but_frames && read == chunks, "{kind:?} {case}: read without an error");
                    harmless += 1;
                }
                Err(error) => assert_names(&error, target, &case),
            }
            assert!(read_pack(&repository, swapped).is_ok(), "{case}: {swapped} was harmed");
        }
        assert!(harmless < 20, "{kind:?}: {harmless} flipped bits were not noticed");
        storage.delete(target)?;
        let error = read_pack(&open(storage, cache.path())?, target).expect_err("the pack is gone");
        assert!(matches!(error, Error::PackMissing { .. }), "{error}");
        assert_names(&error, target, "missing");
    }
    Ok(())
}

#[test]
fn damaged_records() -> TestResult {
    let (pair, other) = (pair()?, pair()?);
    let cache = tempfile::tempdir()?;
    let target = ObjectName::new(format!("backups/one/{}", pair.one.0))?;
    let swapped = ObjectName::new(format!("backups/two/{}", pair.two.0))?;
    let foreign = ObjectName::new(format!("backups/one/{}", other.one.0))?;
    let good = bytes_of(&*pair.storage, &target);
    let mut cases = damages(&good, &bytes_of(&*pair.storage, &swapped), &bytes_of(&*other.storage, &foreign));
    cases.extend((0..good.len()).map(|length| (format!("truncated to {length}"), good[..length].to_vec())));
    cases.extend((0..good.len() * 8).map(|bit| {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {bit} flipped"), bytes)
    }));
    let storage = fork(&*pair.storage);
    let repository = open(storage.clone(), cache.path())?;
    for (case, bytes) in cases {
        overwrite(&*storage, &target, &bytes);
        let error = match repository.record(&volume("one"), pair.one.0) {
            Ok(_) => panic!("{case}: read without an error"),
            Err(error) => error,
        };
        assert_names(&error, &target, &case);
        assert!(repository.record(&volume("two"), pair.two.0).is_ok(), "{case}: the other record was harmed");
    }
    storage.delete(&target)?;
    let missing = repository.record(&volume("one"), pair.one.0);
    assert!(matches!(missing, Err(Error::BackupNotFound { .. })), "{missing:?}");
    Ok(())
}

#[test]
fn damaged_segments_cost_nothing_but_time() -> TestResult {
    let (pair, other) = (pair()?, pair()?);
    let names = objects(&*pair.storage, "index/");
    let (target, swapped) = (&names[0], &names[1]);
    let foreign = &objects(&*other.storage, "index/")[0];
    let good = bytes_of(&*pair.storage, target);
    let mut cases = damages(&good, &bytes_of(&*pair.storage, swapped), &bytes_of(&*other.storage, foreign));
    // A huge number of packs, of frames, of chunks; under a checksum that fits.
    let huge = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    for at in [0, 1 + 16 + 1 + 1, good.len() - HEADER - CHECKSUM - 1] {
        let body = &good[HEADER..good.len() - CHECKSUM];
        let at = at.min(body.len() - 1);
        let body = [&body[..at], &huge, &body[at + 1..]].concat();
        cases.push((format!("a huge number at {at}"), with_body(&good, &body)));
    }
    let mut of_other_kind = good.clone();
    of_other_kind[8] = Kind::Record as u8;
    reseal_envelope(&mut of_other_kind);
    cases.push(("of another kind".to_owned(), of_other_kind));
    for (case, bytes) in cases {
        let storage = fork(&*pair.storage);
        overwrite(&*storage, target, &bytes);
        let cache = tempfile::tempdir()?;
        let repository = open(storage.clone(), cache.path())?;
        let report = repository.rebuild_index()?;
        assert_eq!(report.damage.len(), 1, "{case}: {:?}", report.damage);
        assert_names(&report.damage[0], target, &case);
        // The packs of the segment were found by themselves.
        assert_eq!((report.segments, report.packs, report.adopted_packs), (1, 4, 2), "{case}");
        assert_backup(&repository, &volume("one"), pair.one.0, &pair.one.1);
        assert_backup(&repository, &volume("two"), pair.two.0, &pair.two.1);
    }
    // A newer version is no damage: it is not passed over, and says what to do.
    let mut newer = good;
    newer[9] = 2;
    reseal_envelope(&mut newer);
    let storage = fork(&*pair.storage);
    overwrite(&*storage, target, &newer);
    let cache = tempfile::tempdir()?;
    match open(storage, cache.path())?.rebuild_index() {
        Err(Error::NewerFormat { object, version: 2, .. }) => assert_eq!(object, target.as_str()),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn damaged_descriptors() -> TestResult {
    let pair = pair()?;
    let name = descriptor();
    let good = bytes_of(&*pair.storage, &name);
    let text = String::from_utf8(good.clone())?;
    let cache = tempfile::tempdir()?;
    let storage = fork(&*pair.storage);
    let mut cases: Vec<_> = (0..good.len() - 2).map(|n| (format!("truncated to {n}"), good[..n].to_vec())).collect();
    cases.push(("zeroed".to_owned(), vec![0; good.len()]));
    cases.push(("appended".to_owned(), [&good[..], b"x"].concat()));
    cases.push(("too large".to_owned(), vec![b' '; (1 << 20) + 1]));
    cases.push(("nested".to_owned(), vec![b'['; 100_000]));
    cases.push(("a pack".to_owned(), bytes_of(&*storage, &packs_of_kind(&*storage, Kind::DataPack)[0])));
    for (from, to) in [
        ("\"cinderblock\"", "\"other\""),
        ("\"version\": 1", "\"version\": -1"),
        ("\"version\": 1", "\"version\": 4294967296"),
        ("4096", "4097"),
        ("4096", "0"),
        ("4096", "18446744073709551616"),
        ("\"chunk_size\"", "\"chunk_sizes\""),
        ("\"repository_id\": \"", "\"repository_id\": \"../"),
        ("\"repository_id\": \"", "\"repository_id\": \"0"),
        ("\"created_at\": \"", "\"created_at\": \"x"),
        ("\"none\"", "{}"),
        ("\"version\": 1", "\"version\": 0"),
    ] {
        assert!(text.contains(from), "{from}");
        cases.push((format!("{from} became {to}"), text.replace(from, to).into_bytes()));
    }
    for (case, bytes) in cases {
        overwrite(&*storage, &name, &bytes);
        let error = open(storage.clone(), cache.path()).expect_err(&case);
        assert_names(&error, &name, &case);
    }
    let newer = text.replace("\"version\": 1", "\"version\": 2");
    overwrite(&*storage, &name, newer.as_bytes());
    let error = open(storage.clone(), cache.path()).expect_err("a newer version");
    assert!(matches!(error, Error::NewerFormat { version: 2, supported: 1, .. }), "{error}");
    let locked = text.replace("\"none\"", "\"aes-256-gcm\"");
    overwrite(&*storage, &name, locked.as_bytes());
    let error = open(storage.clone(), cache.path()).expect_err("an encrypted repository");
    assert!(matches!(error, Error::SecretMissing { .. }), "{error}");
    let other = text.replace("\"none\"", "\"another\"");
    overwrite(&*storage, &name, other.as_bytes());
    let error = open(storage.clone(), cache.path()).expect_err("another encryption");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    storage.delete(&name)?;
    let error = open(storage, cache.path()).expect_err("no descriptor");
    assert!(matches!(error, Error::NotARepository { .. }), "{error}");
    Ok(())
}

/// The descriptor is text without a checksum: a flipped bit is an error, or it changes nothing that the data depend on,
/// or every object is told to belong to another repository. It never makes a wrong byte.
#[test]
fn no_flipped_bit_of_the_descriptor_makes_a_wrong_byte() -> TestResult {
    let pair = pair()?;
    let name = descriptor();
    let good = bytes_of(&*pair.storage, &name);
    let storage = fork(&*pair.storage);
    let cache = tempfile::tempdir()?;
    let mut opened = 0;
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        overwrite(&*storage, &name, &bytes);
        let Ok(repository) = open(storage.clone(), cache.path()) else { continue };
        opened += 1;
        assert_eq!(repository.descriptor().chunk_size.bytes() as usize, CHUNK, "bit {bit}");
        match repository.record(&volume("one"), pair.one.0) {
            Ok(record) => assert_eq!(record.volume_bytes, pair.one.1.len() as u64),
            Err(error) => assert!(matches!(error, Error::Damaged { .. }), "bit {bit}: {error}"),
        }
    }
    assert!(opened < good.len(), "{opened} of {} flipped bits were not noticed", good.len() * 8);
    Ok(())
}

/// The whole way, with an index made from what is there: a backup is whole or a typed error, the other is unharmed.
#[test]
fn a_backup_is_read_whole_or_refused() -> TestResult {
    let pair = pair()?;
    let cache = tempfile::tempdir()?;
    let repository = open(pair.storage.clone(), cache.path())?;
    let record = repository.record(&volume("one"), pair.one.0)?;
    let (data, map) = (record.data_packs[0], record.map_packs[0]);
    for target in objects(&*pair.storage, "packs/") {
        let harms_one = [data, map].contains(&pack_id(&target));
        let good = bytes_of(&*pair.storage, &target);
        let mut frames = good.clone();
        let middle = HEADER + (good.len() - HEADER - FOOTER) / 4;
        frames[middle] ^= 4;
        let mut directory = good.clone();
        directory[good.len() - FOOTER - 1] ^= 1;
        for (case, bytes) in [("missing", None), ("frame", Some(frames)), ("directory", Some(directory))] {
            let storage = fork(&*pair.storage);
            match bytes {
                Some(bytes) => overwrite(&*storage, &target, &bytes),
                None => storage.delete(&target)?,
            }
            let cache = tempfile::tempdir()?;
            let repository = open(storage, cache.path())?;
            let (harmed, whole) = if harms_one {
                (("one", &pair.one), ("two", &pair.two))
            } else {
                (("two", &pair.two), ("one", &pair.one))
            };
            let record = repository.record(&volume(harmed.0), harmed.1.0)?;
            let error = read_backup(&repository, &record).expect_err(case);
            assert!(error.is_damage(), "{case} of {target}: {error}");
            assert_backup(&repository, &volume(whole.0), whole.1.0, &whole.1.1);
            let usage = repository.usage()?;
            assert_eq!(usage.backups, 2, "{case}");
            assert!(usage.missing > 0 || case == "frame", "{case} of {target}: {usage:?}");
        }
    }
    Ok(())
}

/// A map node that can't be read is named, and what does not need it is still told.
#[test]
fn a_damaged_map_node_loses_its_leaf_and_no_more() -> TestResult {
    let pair = pair()?;
    let cache = tempfile::tempdir()?;
    let record = open(pair.storage.clone(), cache.path())?.record(&volume("one"), pair.one.0)?;
    let leaves = children(&record.map);
    assert_eq!((record.map.level, leaves.len()), (1, 2));
    let name = packs_of_kind(&*pair.storage, Kind::MapPack)
        .into_iter()
        .find(|name| record.map_packs.contains(&pack_id(name)))
        .ok_or("no map pack")?;
    let mut bytes = bytes_of(&*pair.storage, &name);
    bytes[HEADER + 3] ^= 0x10;
    overwrite(&*pair.storage, &name, &bytes);
    let repository = open(pair.storage.clone(), cache.path())?;
    assert_names(&repository.node(&leaves[0]).expect_err("a damaged node"), &name, "node");
    let outcomes: Vec<_> = repository.leaves(&record, 0..record.volume_bytes).collect();
    let lost: u64 = outcomes.iter().filter_map(|leaf| leaf.as_ref().err()).map(|leaf| leaf.length).sum();
    let told: u64 = outcomes.iter().filter_map(|leaf| leaf.as_ref().ok()).map(|leaf| leaf.length).sum();
    assert!(lost > 0);
    assert_eq!(lost + told, record.volume_bytes);
    Ok(())
}

/// What was lost and stored again is found, whichever copy an index met last.
fn assert_found_when_stored_again(lost: Kind) -> TestResult {
    let pair = pair()?;
    let cache = tempfile::tempdir()?;
    let record = open(pair.storage.clone(), cache.path())?.record(&volume("one"), pair.one.0)?;
    let packs = if lost == Kind::DataPack { &record.data_packs } else { &record.map_packs };
    for name in packs_of_kind(&*pair.storage, lost).iter().filter(|name| packs.contains(&pack_id(name))) {
        pair.storage.delete(name)?;
    }
    let again = Plan::new();
    let repository = open(pair.storage.clone(), cache.path())?;
    back_up(&repository, &volume("one"), &pair.one.1, &again)?;
    // An index made anew reads the segments in any order.
    for _ in 0..8 {
        let cache = tempfile::tempdir()?;
        let repository = open(pair.storage.clone(), cache.path())?;
        assert_backup(&repository, &volume("one"), again.id, &pair.one.1);
        assert_backup(&repository, &volume("one"), pair.one.0, &pair.one.1);
    }
    Ok(())
}

#[test]
fn chunks_that_were_stored_again_are_found_by_every_new_index() -> TestResult {
    assert_found_when_stored_again(Kind::DataPack)
}

#[test]
fn map_nodes_that_were_stored_again_are_found_by_every_new_index() -> TestResult {
    assert_found_when_stored_again(Kind::MapPack)
}
