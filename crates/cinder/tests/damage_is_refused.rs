//! What is not as it was written is refused by name, before a target is touched.

mod common;

use cinderblock_backend::{Backend, ObjectName};
use cinderblock_cinder::{Backup, Error};
use common::{Place, VOLUME, layer, object, text};

const BLOCK: usize = 4096;
const CHUNK: usize = 4 * BLOCK;

/// Checks that a restore refuses, by the name of the object, and that no target was touched.
fn refused(place: &Place, chain: &[Backup], name: &str) {
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let said = |error: Error| {
        let said = error.to_string();
        assert!(said.contains(name.rsplit('/').next().unwrap()), "{said} does not name {name}");
    };
    said(place.restore_new(&driver, chain).map(drop).unwrap_err());
    let (outcome, existing) = place.restore_over(&driver, chain, 20 * CHUNK);
    said(outcome.unwrap_err());
    assert!(existing.iter().all(|byte| *byte == 0xa5), "the existing target was touched");
}

/// What is done to an object's bytes.
type Damage = fn(&mut Vec<u8>);

fn volumes() -> [Vec<u8>; 2] {
    let mut first = text(1, 10 * CHUNK + 500);
    first[3 * CHUNK..5 * CHUNK].fill(0);
    let mut second = first.clone();
    second[CHUNK] ^= 1;
    [first, second]
}

fn chain(compression: &str) -> (Place, Vec<Backup>) {
    let place = Place::new();
    let driver = place.driver(compression, CHUNK as u64, BLOCK as u64);
    let chain = place.chain(&driver, &volumes());
    (place, chain)
}

#[test]
fn each_kind_of_damage_to_each_object_is_refused() {
    for compression in ["none", "zlib", "bz2", "zstd"] {
        for (layer_at, object_at) in [(0, 0), (0, 3), (0, 10), (1, 0)] {
            let damages: [(&str, Damage); 6] = [
                ("a flipped bit at the start", |bytes| bytes[0] ^= 1),
                ("a flipped bit in the middle", |bytes| {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0x10;
                }),
                ("a flipped bit at the end", |bytes| {
                    let end = bytes.len() - 1;
                    bytes[end] ^= 0x80;
                }),
                ("a byte less", |bytes| bytes.truncate(bytes.len() - 1)),
                ("a byte more", |bytes| bytes.push(0)),
                ("nothing", Vec::clear),
            ];
            for (what, damage) in damages {
                let (place, chain) = chain(compression);
                let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
                let name = object(&driver, &chain[layer_at], object_at);
                place.change(&name, damage);
                // A layer that is hidden by a newer one would not be read.
                let newest = if (layer_at, object_at) == (0, 0) { &chain[..1] } else { &chain[..] };
                println!("{compression}: {what}: {name}");
                // Compressed bytes have bits that mean nothing: what decompresses to the right bytes is not damaged.
                let harmless =
                    place.restore_new(&driver, newest).is_ok_and(|bytes| bytes == volumes()[newest.len() - 1]);
                assert!(!harmless || (compression != "none" && what.contains("flipped")), "{compression}: {what}");
                if !harmless {
                    refused(&place, newest, &name);
                }
            }
        }
    }
}

#[test]
fn an_objects_message_says_which_part_of_the_volume_is_lost() {
    let (place, chain) = chain("zlib");
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    place.change(&object(&driver, &chain[0], 2), |bytes| bytes.truncate(20));
    match place.restore_new(&driver, &chain).unwrap_err() {
        Error::DamagedObject { offset, length, .. } => {
            assert_eq!((offset, length), (2 * CHUNK as u64, CHUNK as u64));
        }
        error => panic!("{error}"),
    }
}

#[test]
fn missing_and_stray_objects_are_named() {
    let (place, chain) = chain("zlib");
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let prefix =
        format!("{}/{}", chain[1].container.as_deref().unwrap(), chain[1].service_metadata.as_deref().unwrap());
    for stray in ["-00002", "-99999", "-foo", "x", "_metadata2", "-1"] {
        let name = ObjectName::new(format!("{prefix}{stray}")).unwrap();
        place.memory.put(&name, &[b"x"]).unwrap();
        refused(&place, &chain, name.as_str());
        place.memory.delete(&name).unwrap();
    }
    let name = object(&driver, &chain[0], 1);
    place.memory.delete(&ObjectName::new(name.as_str()).unwrap()).unwrap();
    refused(&place, &chain, &name);
}

#[test]
fn a_backup_without_metadata_is_none() {
    let (place, chain) = chain("zlib");
    let metadata = layer(&place.driver("none", CHUNK as u64, BLOCK as u64), &chain[1]).prefix.metadata();
    let name = format!("{}/{metadata}", chain[1].container.as_deref().unwrap());
    place.memory.delete(&ObjectName::new(name.as_str()).unwrap()).unwrap();
    refused(&place, &chain, &metadata);
}

#[test]
fn a_parent_with_damaged_hashes_is_refused_before_anything_is_written() {
    let (place, chain) = chain("zlib");
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let name = format!("{}/{}", chain[0].container.as_deref().unwrap(), layer(&driver, &chain[0]).prefix.sha256file());
    place.change(&name, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] = b'x';
    });
    let before = place.objects();
    let error = place.back_up(&driver, 3, &text(1, 10 * CHUNK), Some(&chain[0])).unwrap_err();
    assert!(matches!(error, Error::BadDocument { .. }), "{error}");
    assert_eq!(place.objects(), before);
}

#[test]
fn documents_of_an_unknown_version_are_refused() {
    let (place, chain) = chain("zlib");
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let name = format!("{}/{}", chain[0].container.as_deref().unwrap(), layer(&driver, &chain[0]).prefix.metadata());
    place.change(&name, |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("\"version\": \"1.0.0\"", "\"version\": \"2.0.0\"").into_bytes();
    });
    let error = place.restore_new(&driver, &chain).unwrap_err().to_string();
    assert_eq!(error, "invalid backup: No support to restore backup version 2.0.0");
}

#[test]
fn objects_beyond_the_volumes_size_are_refused() {
    let (place, mut chain) = chain("zlib");
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let name = format!("{}/{}", chain[0].container.as_deref().unwrap(), layer(&driver, &chain[0]).prefix.metadata());
    place.change(&name, |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace(&format!("\"offset\": {}", 10 * CHUNK), "\"offset\": 2147483648").into_bytes();
    });
    chain[0].size_gib = 1;
    let error = driver.restore(&chain, VOLUME, &cinderblock_pipeline::Target::New(place.path("restored"))).unwrap_err();
    assert!(error.to_string().contains("of a volume of 1 GiB"), "{error}");
    assert!(!place.path("restored").exists());
}

#[test]
fn inspecting_names_what_is_wrong() {
    let (place, chain) = chain("zlib");
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let inspect = |read_data| {
        let backup = &chain[0];
        driver.inspect(backup.container.as_deref().unwrap(), backup.service_metadata.as_deref().unwrap(), read_data)
    };
    let found = inspect(true).unwrap();
    assert!(found.is_whole(), "{found:?}");
    assert_eq!((found.hashes, found.volume_bytes), (41, 10 * CHUNK as u64 + 500));

    let (damaged, missing) = (object(&driver, &chain[0], 4), object(&driver, &chain[0], 5));
    place.change(&damaged, |bytes| bytes[8] ^= 1);
    place.memory.delete(&ObjectName::new(missing.as_str()).unwrap()).unwrap();
    let found = inspect(false).unwrap();
    assert_eq!(
        (found.missing.len(), found.damaged.len()),
        (1, 0),
        "without reading, damage within objects is not seen"
    );
    let found = inspect(true).unwrap();
    assert_eq!(found.missing, [missing.rsplit('/').next().unwrap()]);
    assert_eq!(found.damaged.len(), 1);
    assert_eq!(Some(found.damaged[0].object.as_str()), damaged.rsplit('/').next());
    assert_eq!(found.damaged[0].offset, Some(4 * CHUNK as u64));
}

/// Cinder checks nothing of this sort: data and their MD5 agree, and only the list of hashes tells that they are not the
/// volume's.
#[test]
fn inspecting_compares_data_with_the_list_of_hashes() {
    let place = Place::new();
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let volume = text(1, 2 * CHUNK);
    let backup = place.back_up(&driver, 1, &volume, None).unwrap().0;
    let layer = layer(&driver, &backup);
    let name = format!("{}/{}", layer.container, layer.prefix.sha256file());
    place.change(&name, |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let at = text.rfind("\"\n  ],").unwrap() - 1;
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    });
    let found = driver.inspect(&layer.container, layer.prefix.as_str(), true).unwrap();
    assert_eq!(found.damaged.len(), 1, "{found:?}");
    assert!(found.damaged[0].reason.contains("SHA-256"), "{found:?}");
    assert_eq!(found.damaged[0].offset, Some(CHUNK as u64));
}

/// Sets the block size that the list of hashes states.
fn state_block_size(place: &Place, backup: &Backup, bytes: u64) {
    let (container, prefix) = (backup.container.as_deref().unwrap(), backup.service_metadata.as_deref().unwrap());
    place.change(&format!("{container}/{prefix}_sha256file"), |text| {
        let stated = String::from_utf8(text.clone()).unwrap();
        *text = stated.replace("\"chunk_size\": 4096", &format!("\"chunk_size\": {bytes}")).into_bytes();
    });
}

/// A block size is a number that anybody may have written: nothing is hashed or kept for its sake.
#[test]
fn a_list_that_states_enormous_blocks_is_told_at_once() {
    let place = Place::new();
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let backup = place.back_up(&driver, 1, &text(1, 10 * CHUNK), None).unwrap().0;
    state_block_size(&place, &backup, u64::MAX);
    let (container, prefix) = (backup.container.as_deref().unwrap(), backup.service_metadata.as_deref().unwrap());
    let found = driver.inspect(container, prefix, true).unwrap();
    assert!(!found.is_whole());
    assert!(found.damaged.iter().any(|part| part.reason.contains("another SHA-256")), "{:?}", found.damaged);
}

#[test]
fn blocks_that_are_not_memory_sized_are_refused_before_anything_is_hashed() {
    let place = Place::new();
    let driver = place.driver("none", 1 << 50, 1 << 50);
    let error = place.back_up(&driver, 1, &[1; 1000], None).unwrap_err();
    assert!(matches!(error, Error::NotEnoughMemory { .. }), "{error}");
    assert!(place.objects().is_empty());
}

#[test]
fn a_parent_without_its_list_of_hashes_is_told_as_such_and_still_restored() {
    let place = Place::new();
    let driver = place.driver("none", CHUNK as u64, BLOCK as u64);
    let bytes = text(1, 3 * CHUNK);
    let parent = place.back_up(&driver, 1, &bytes, None).unwrap().0;
    let (container, prefix) = (parent.container.as_deref().unwrap(), parent.service_metadata.as_deref().unwrap());
    let list = format!("{container}/{prefix}_sha256file");
    place.memory.delete(&ObjectName::new(list.as_str()).unwrap()).unwrap();
    let error = place.back_up(&driver, 2, &bytes, Some(&parent)).unwrap_err();
    assert!(matches!(&error, Error::InvalidBackup { reason } if reason.contains(&list)), "{error}");
    let found = driver.inspect(container, prefix, true).unwrap();
    assert_eq!((found.missing.len(), found.damaged.len()), (1, 0), "{found:?}");
    assert_eq!(place.restore_new(&driver, &[parent]).unwrap(), bytes);
}
