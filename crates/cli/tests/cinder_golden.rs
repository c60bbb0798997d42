//! What Cinder wrote once is restored, on every machine.

mod common;
mod oracle;

use std::fs;

use common::{Place, noise};
use oracle::golden::{assert_volume, chains};
use oracle::pair::{Target, our_restore};

#[test]
fn every_backup_of_every_chain_is_restored() {
    let place = Place::bare();
    for golden in chains() {
        for layers in 1..=golden.chain.len() {
            let chain = &golden.chain[..layers];
            let target = place.path("new");
            place.json(&our_restore(chain, &target, Target::New).iter().map(String::as_str).collect::<Vec<_>>());
            assert_volume(&chain[layers - 1], &fs::read(&target).unwrap());
            fs::remove_file(&target).unwrap();

            let target = place.file("existing", &noise(1, 400_000));
            place.json(&our_restore(chain, &target, Target::Existing).iter().map(String::as_str).collect::<Vec<_>>());
            let restored = fs::read(&target).unwrap();
            assert_volume(&chain[layers - 1], &restored[..300_001]);
            assert!(restored[300_001..] == noise(1, 400_000)[300_001..], "bytes behind the volume");
        }
    }
}

#[test]
fn every_backup_of_every_chain_is_found_whole() {
    let place = Place::bare();
    for golden in chains() {
        for layer in &golden.chain {
            let root = layer.root.to_str().unwrap();
            let which = ["--container-root", root, "--container", layer.container(), "--prefix", layer.prefix()];
            let found = place.json(&[&["cinder", "inspect", "--read-data"], &which[..]].concat());
            for member in ["backup_id", "volume_id", "parent_id", "container", "prefix", "object_count"] {
                assert_eq!(found[member], layer.facts[member], "{member}: {found}");
            }
        }
    }
}

#[test]
fn a_chain_comes_back_from_a_repository() {
    for golden in chains() {
        let place = Place::new();
        let root = golden.chain[0].root.to_str().unwrap().to_owned();
        let layers: Vec<String> = golden.chain.iter().map(oracle::layer::Layer::spelled).collect();
        let options = layers.iter().flat_map(|layer| ["--layer", layer]);
        let arguments: Vec<&str> = ["cinder", "import", "--container-root", &root].into_iter().chain(options).collect();
        let imported = place.json(&arguments);
        let backups = imported["backups"].as_array().unwrap();
        assert_eq!(backups.len(), golden.chain.len(), "{imported}");
        for (backup, layer) in backups.iter().zip(&golden.chain) {
            assert_eq!(backup["backup_id"], layer.facts["backup_id"], "{backup}");
            assert_volume(layer, &place.restore(oracle::layer::in_repository(backup)));
        }
    }
}
