//! Chains of Cinder's are imported into a repository, and its backups exported as Cinder's.

mod common;
mod oracle;

use std::path::Path;

use common::{number, text};
use oracle::case::Side;
use oracle::layer::{Layer, assert_modes, assert_text, in_repository};
use oracle::pair::{Pair, Wanted};
use oracle::volume::{Change, Fill};
use serde_json::Value;

const VOLUME: &str = "11111111-0000-4000-8000-000000000000";
const PIECES: Option<(usize, usize)> = Some((128 << 10, 32 << 10));

fn id(compression: usize, day: usize) -> String {
    format!("{compression}a{day}b0000-0000-4000-8000-000000000000")
}

fn volumes() -> [Vec<u8>; 3] {
    let (chunk, block) = PIECES.unwrap();
    let full = Fill::Holes.volume(3 * chunk + block + 77, block, 1);
    let first = Change::Zeroed.after(&full, chunk, block, 2);
    let second = Change::Scattered.after(&first, chunk, block, 3);
    [full, first, second]
}

/// A chain of the real driver's, and the same imported into a repository.
fn imported(pair: &mut Pair, compression: &str, ids: &[String; 3]) -> (Vec<Layer>, Vec<Value>) {
    pair.forget();
    let root = pair.root("real");
    let mut chain: Vec<Layer> = Vec::new();
    for (volume, id) in volumes().iter().zip(ids) {
        let wanted = Wanted { parent: chain.last(), compression, pieces: PIECES, ..Wanted::new(volume, VOLUME, id) };
        chain.push(pair.backup(Side::Real, &root, &wanted));
    }
    let mut arguments = ["cinder", "import", "--container-root", root.to_str().unwrap()].map(str::to_owned).to_vec();
    arguments.extend(chain.iter().flat_map(|layer| ["--layer".to_owned(), layer.spelled()]));
    let imported = pair.json(&arguments);
    let backups = imported["backups"].as_array().unwrap_or_else(|| panic!("no backups: {imported}")).clone();
    assert_eq!(backups.len(), 3, "{imported}");
    for (backup, layer) in backups.iter().zip(&chain) {
        for member in ["backup_id", "volume_id", "parent_id", "container", "prefix", "size_gib", "object_count"] {
            assert_eq!(backup[member], layer.facts[member], "{member}: {backup}");
        }
    }
    (chain, backups)
}

/// Exports a backup of the repository; the real driver knows it from then on.
fn export(pair: &mut Pair, root: &Path, backup: &Value, wanted: &Wanted) -> Layer {
    let mut arguments = ["cinder", "export", in_repository(backup)].map(str::to_owned).to_vec();
    arguments.extend(pair.our_options(root, wanted));
    let layer = Layer::new(root, pair.json(&arguments));
    pair.register(&layer);
    layer
}

/// Checks that a document is the original's but for these members.
fn assert_same_but_for(members: &[&str], ours: &Layer, real: &Layer) {
    let without = |layer: &Layer| {
        let mut metadata = layer.metadata();
        for member in members {
            metadata.as_object_mut().unwrap().remove(*member);
        }
        serde_json::to_string_pretty(&metadata).unwrap().replace(layer.prefix(), "PREFIX")
    };
    assert_text(&without(ours), &without(real), &format!("metadata of {}", ours.backup_id()));
}

#[test]
fn a_chain_goes_through_a_repository_and_is_flattened() {
    let Some(mut pair) = Pair::start() else { return };
    pair.place.succeed(&["init"]);
    let volumes = volumes();
    for (number, compression) in ["none", "zlib", "bz2", "zstd"].into_iter().enumerate() {
        let ids = [0, 1, 2].map(|day| id(number, day));
        let (chain, backups) = imported(&mut pair, compression, &ids);
        for (backup, volume) in backups.iter().zip(&volumes) {
            assert!(pair.place.restore(in_repository(backup)) == *volume, "{compression}: {backup}");
        }
        pair.forget();
        let root = pair.root(&format!("exported as {compression}"));
        for day in 0..3 {
            let like = Some(&chain[day]);
            let wanted = Wanted { compression, pieces: PIECES, like, ..Wanted::new(&volumes[day], VOLUME, &ids[day]) };
            let layer = export(&mut pair, &root, &backups[day], &wanted);
            assert_eq!(layer.facts["parent_id"], Value::Null, "{}", layer.facts);
            assert_eq!(layer.metadata()["parent_id"], Value::Null);
            assert_same_but_for(&["objects", "parent_id"], &layer, &chain[day]);
            assert_text(&layer.document("_sha256file"), &chain[day].document("_sha256file"), "_sha256file");
            assert_modes(&layer);
            pair.assert_objects_hold(&layer, &volumes[day]);
            pair.assert_restores(&[Side::Ours, Side::Real], &[layer], &volumes[day..=day]);
        }
    }
}

#[test]
fn an_export_is_an_increment_of_another() {
    let Some(mut pair) = Pair::start() else { return };
    pair.place.succeed(&["init"]);
    let volumes = volumes();
    let ids = [0, 1, 2].map(|day| id(9, day));
    let (real, backups) = imported(&mut pair, "zlib", &ids);
    pair.forget();
    let root = pair.root("exported");
    let mut chain: Vec<Layer> = Vec::new();
    for day in 0..3 {
        let wanted = Wanted {
            compression: "zlib",
            pieces: PIECES,
            parent: chain.last(),
            like: Some(&real[day]),
            ..Wanted::new(&volumes[day], VOLUME, &ids[day])
        };
        chain.push(export(&mut pair, &root, &backups[day], &wanted));
        // The same chain as the real driver wrote: the same bytes.
        oracle::layer::assert_same(&chain[day], &real[day]);
        pair.assert_restores(&[Side::Ours, Side::Real], &chain[..=day], &volumes[..=day]);
    }
}

#[test]
fn a_backup_of_the_repository_becomes_cinders() {
    let Some(mut pair) = Pair::start() else { return };
    pair.place.succeed(&["init"]);
    let root = pair.root("exported");
    let volume = &volumes()[0];
    pair.place.file("plain", volume);
    for chunker in ["fixed", "fastcdc"] {
        let backup = pair.place.json(&["backup", "plain", "--volume-id", VOLUME, "--chunker", chunker]);
        assert_eq!(number(&backup, "volume_bytes"), volume.len() as u64);
        let id = id(8, usize::from(chunker == "fixed"));
        let wanted = Wanted { compression: "zstd", ..Wanted::new(volume, VOLUME, &id) };
        let layer = export(&mut pair, &root, &backup, &wanted);
        assert_eq!(text(&layer.facts, "backup_id"), id);
        pair.assert_objects_hold(&layer, volume);
        pair.assert_restores(&[Side::Ours, Side::Real], &[layer], std::slice::from_ref(volume));
    }
}
