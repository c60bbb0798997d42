//! Backups of Cinder's S3 driver, by way of a copy of the bucket in a folder: names with slashes, one container for all.

mod common;
mod oracle;

use std::fs;

use oracle::case::{CASES, Side};
use oracle::layer::{Layer, assert_same};
use oracle::pair::{Pair, Wanted};
use oracle::volume::{Change, Fill};

const VOLUME: &str = "11111111-0000-4000-8000-000000000000";
const BACKUPS: [&str; 3] = [
    "aaaaaaaa-0000-4000-8000-000000000000",
    "bbbbbbbb-0000-4000-8000-000000000000",
    "cccccccc-0000-4000-8000-000000000000",
];

/// Three backups of a volume that lost its first blocks and changed in others.
fn volumes() -> [Vec<u8>; 3] {
    let (chunk, block) = (128 << 10, 32 << 10);
    let full = Fill::Holes.volume(300_001, block, 1);
    let first = Change::Zeroed.after(&full, chunk, block, 2);
    let second = Change::Scattered.after(&first, chunk, block, 3);
    [full, first, second]
}

fn write(pair: &mut Pair, name: &str, sides: [Side; 3], compression: &str, like: &[Layer]) -> Vec<Layer> {
    let root = pair.root(name);
    let mut chain: Vec<Layer> = Vec::new();
    for (day, (volume, side)) in volumes().iter().zip(sides).enumerate() {
        let wanted = Wanted {
            parent: chain.last(),
            compression,
            pieces: Some((128 << 10, 32 << 10)),
            like: like.get(day),
            ..Wanted::new(volume, VOLUME, BACKUPS[day])
        };
        let layer = pair.backup(side, &root, &wanted);
        assert_eq!(layer.container(), "volumebackups");
        chain.push(layer);
    }
    chain
}

#[test]
fn chains_in_a_bucket() {
    let Some(mut pair) = Pair::start_with_store() else { return };
    let volumes = volumes();
    // The compressions of the table, in turn.
    let compressions = ["none", "zlib", "zstd"];
    assert!(compressions.iter().all(|name| CASES.iter().any(|case| case.compression == *name)));
    for (number, compression) in compressions.into_iter().enumerate() {
        pair.forget();
        let real = write(&mut pair, &format!("real {number}"), [Side::Real; 3], compression, &[]);
        for layers in 1..=3 {
            pair.assert_restores(&[Side::Ours], &real[..layers], &volumes[..layers]);
        }
        for (which, sides) in
            [[Side::Ours; 3], [Side::Real, Side::Ours, Side::Real], [Side::Ours, Side::Real, Side::Ours]]
                .into_iter()
                .enumerate()
        {
            pair.forget();
            let chain = write(&mut pair, &format!("mixed {number} {which}"), sides, compression, &real);
            for (day, side) in sides.into_iter().enumerate() {
                if side == Side::Ours {
                    assert_same(&chain[day], &real[day]);
                }
                pair.assert_restores(&[Side::Ours, Side::Real], &chain[..=day], &volumes[..=day]);
            }
        }
    }
}

#[test]
fn a_backup_is_deleted_from_among_others() {
    let Some(mut pair) = Pair::start_with_store() else { return };
    let chain = write(&mut pair, "ours", [Side::Ours; 3], "zlib", &[]);
    // Ours, in the copy.
    let before: Vec<_> = chain.iter().map(Layer::files).collect();
    assert!(before.iter().all(|files| files.len() > 2), "{before:?}");
    pair.delete(Side::Ours, &chain[2]);
    assert!(chain[2].files().is_empty());
    assert!(chain[0].files() == before[0] && chain[1].files() == before[1]);
    // Theirs, in the bucket, which still has all three.
    pair.delete(Side::Real, &chain[1]);
    let left = pair.bucket("volumebackups", "left");
    let files: Vec<_> = chain.iter().map(|layer| Layer::new(&left, layer.facts.clone()).files()).collect();
    assert!(files[0] == before[0] && files[1].is_empty() && files[2] == before[2]);
    fs::remove_dir_all(left).unwrap();
}
