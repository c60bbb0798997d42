//! The real Cinder driver and ours write the same bytes, and read and delete each other's backups.
//!
//! `make test` has the real one installed. Elsewhere these tests say why they are skipped, and pass.

mod common;
mod oracle;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::noise;
use oracle::case::{CASES, Case, Side, Writers};
use oracle::layer::{Layer, assert_modes, assert_same};
use oracle::pair::{Pair, Wanted};

const VOLUME: &str = "11111111-0000-4000-8000-000000000000";

fn id(case: usize, layer: usize) -> String {
    format!("{case:02x}a{layer}0000-0000-4000-8000-00000000000{layer}")
}

/// Writes a case's chain, each layer by its side and with the rows of `like` in Cinder's database.
fn write(pair: &mut Pair, root: &Path, case: (usize, &Case), sides: [Side; 3], like: &[Layer]) -> Vec<Layer> {
    let (number, case) = case;
    let mut chain: Vec<Layer> = Vec::new();
    for (day, (volume, side)) in case.volumes().iter().zip(sides).enumerate() {
        let backup_id = id(number, day);
        let wanted = Wanted {
            holes: case.fill == oracle::volume::Fill::Holes,
            parent: chain.last(),
            compression: case.compression,
            pieces: case.pieces.options(),
            like: like.get(day),
            ..Wanted::new(volume, VOLUME, &backup_id)
        };
        chain.push(pair.backup(side, root, &wanted));
    }
    chain
}

fn chains(writers: Writers) {
    let Some(mut pair) = Pair::start() else { return };
    for (number, case) in CASES.iter().enumerate().filter(|(_, case)| case.writers == writers) {
        println!("case {number}: {case:?}");
        let volumes = case.volumes();
        let (real_root, root) = (pair.root("real"), pair.root("mixed"));
        pair.forget();
        let real = write(&mut pair, &real_root, (number, case), [Side::Real; 3], &[]);
        let chain = if writers == Writers::AllReal {
            real.clone()
        } else {
            pair.forget();
            write(&mut pair, &root, (number, case), writers.sides(), &real)
        };
        for (day, side) in writers.sides().into_iter().enumerate() {
            if side == Side::Ours {
                assert_same(&chain[day], &real[day]);
            }
            assert_modes(&chain[day]);
            pair.assert_objects_hold(&chain[day], &volumes[day]);
            pair.assert_restores(&[Side::Ours, Side::Real], &chain[..=day], &volumes[..=day]);
        }
        fs::remove_dir_all(real_root).unwrap();
        fs::remove_dir_all(root).unwrap();
    }
}

#[test]
fn chains_that_cinder_wrote() {
    chains(Writers::AllReal);
}

#[test]
fn chains_that_we_wrote() {
    chains(Writers::AllOurs);
}

#[test]
fn chains_with_our_increment_between_cinders() {
    chains(Writers::OursBetween);
}

#[test]
fn chains_with_cinders_increment_between_ours() {
    chains(Writers::RealBetween);
}

#[test]
fn the_table_has_every_pair_of_values() {
    let values: Vec<[String; 7]> = CASES.iter().map(Case::values).collect();
    let column = |column: usize| values.iter().map(move |row| row[column].as_str()).collect::<BTreeSet<_>>();
    let sizes: Vec<usize> = (0..7).map(|number| column(number).len()).collect();
    assert_eq!(sizes, [5, 4, 6, 6, 5, 3, 4]);
    for (first, second) in (0..7).flat_map(|first| (first + 1..7).map(move |second| (first, second))) {
        for one in column(first) {
            for other in column(second) {
                assert!(values.iter().any(|row| row[first] == one && row[second] == other), "{one}, {other}");
            }
        }
    }
}

/// A full backup, and an increment that neither may make: what each says.
fn refusals(pair: &mut Pair, parent: Side, change: impl Fn(&mut Wanted)) -> [String; 2] {
    pair.forget();
    let root = pair.root("refused");
    let volume = noise(1, 300_001);
    let (full_id, id) = (id(0, 0), id(0, 1));
    let pieces = Some((128 << 10, 32 << 10));
    let full = pair.backup(parent, &root, &Wanted { pieces, ..Wanted::new(&volume, VOLUME, &full_id) });
    let mut wanted = Wanted { pieces, parent: Some(&full), ..Wanted::new(&volume, VOLUME, &id) };
    change(&mut wanted);
    // Ours first: the real one may leave a row and objects behind.
    let refused = [Side::Ours, Side::Real].map(|side| {
        let line = pair.refused_backup(side, &root, &wanted);
        let folder = root.join(&id[0..2]).join(&id[2..4]);
        let left = fs::read_dir(folder.join(&id)).map_or(0, Iterator::count);
        assert!(side == Side::Real || left == 0, "{left} objects were left behind");
        line
    });
    fs::remove_dir_all(root).unwrap();
    refused
}

#[test]
fn what_cinder_refuses_is_refused() {
    let Some(mut pair) = Pair::start() else { return };
    for parent in [Side::Real, Side::Ours] {
        for line in refusals(&mut pair, parent, |wanted| wanted.length = (1 << 30) + 1) {
            assert!(line.contains("Volume size increased since the last backup. Do a full backup."), "{line}");
        }
        for line in refusals(&mut pair, parent, |wanted| wanted.pieces = Some((128 << 10, 16 << 10))) {
            assert!(line.contains("Hash block size has changed"), "{line}");
            assert!(line.contains("16384") && line.contains("32768") && line.contains("Do a full backup."), "{line}");
        }
        for line in refusals(&mut pair, parent, |wanted| wanted.pieces = Some((100_000, 32 << 10))) {
            assert!(line.contains("Chunk size is not multiple of block size"), "{line}");
        }
        // The real driver only notices that it has no hash to compare with.
        let [ours, real] = refusals(&mut pair, parent, |wanted| wanted.length += 100_000);
        assert!(ours.contains("Do a full backup"), "{ours}");
        assert!(real.starts_with("IndexError: "), "{real}");
    }
}

#[test]
fn each_deletes_what_the_other_wrote_and_nothing_else() {
    let Some(mut pair) = Pair::start() else { return };
    let root = pair.root("containers");
    let volume = noise(1, 300_001);
    for (number, (writer, deleter)) in [(Side::Real, Side::Ours), (Side::Ours, Side::Real)].into_iter().enumerate() {
        let [gone_id, kept_id] = [id(number, 0), id(number, 1)];
        let gone = pair.backup(writer, &root, &Wanted::new(&volume, VOLUME, &gone_id));
        let parent = Some(&gone);
        let kept = pair.backup(writer, &root, &Wanted { parent, ..Wanted::new(&volume[1..], VOLUME, &kept_id) });
        let beside = gone.folder().join("not an object of this backup");
        fs::write(&beside, "x").unwrap();
        let before = kept.files();
        assert!(gone.files().len() == 3 && before.len() == 3);

        pair.delete(deleter, &gone);
        assert!(gone.files().is_empty(), "{:?}", gone.files().keys());
        assert!(beside.exists() && kept.files() == before);
        // The objects are gone already, which is no failure.
        if deleter == Side::Ours {
            pair.delete(deleter, &gone);
        }
    }
}

#[test]
fn deleting_without_a_prefix_deletes_nothing() {
    let Some(mut pair) = Pair::start() else { return };
    let root = pair.root("containers");
    let layer = pair.backup(Side::Real, &root, &Wanted::new(b"volume", VOLUME, &id(0, 0)));
    let before = layer.files();
    let root = root.to_str().unwrap();
    let arguments = ["cinder", "delete", "--container-root", root, "--container", layer.container(), "--prefix", ""];
    let failed = pair.place.run(&arguments);
    assert!(!failed.status.success());
    assert_eq!(layer.files(), before);
}
