//! Chains go into a repository and come out again with all that Cinder knew.

mod common;

use std::sync::Arc;

use cinderblock_backend::{Backend, Faulty, Kind, Memory, Rule};
use cinderblock_chunker::ChunkSize;
use cinderblock_cinder::{Backup, BackupSummary, Context, Error, ExportOptions, ImportedBackup, Layer, VolumeApi};
use cinderblock_pipeline::{Control, Engine, Settings};
use cinderblock_store::pack::frame::Compression;
use cinderblock_store::{OpenOptions, Record, Repository};
use common::{Driver, Place, context, driver_on, layer, text};
use tempfile::TempDir;

const BLOCK: usize = 4096;
const CHUNK: usize = 4 * BLOCK;

struct Store {
    _cache: TempDir,
    repository: Repository,
    engine: Engine,
}

impl Store {
    fn new(chunk_bytes: u32) -> Self {
        Self::on(Arc::new(Memory::new()), chunk_bytes)
    }

    fn on(storage: Arc<dyn Backend>, chunk_bytes: u32) -> Self {
        let cache = tempfile::tempdir().unwrap();
        Repository::create(&*storage, ChunkSize::new(chunk_bytes.into()).unwrap()).unwrap();
        let repository = Repository::open(storage, &OpenOptions::new(cache.path())).unwrap();
        let engine = Engine::new(Settings { threads: 2, ..Settings::default() }).unwrap();
        Self { _cache: cache, repository, engine }
    }

    fn import(&self, driver: &Driver, layers: &[Layer]) -> Result<Vec<ImportedBackup>, Error> {
        driver.import(&self.repository, &self.engine, layers, Compression::default())
    }

    fn restore(&self, record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.engine.restore_to_writer(&self.repository, record, &mut bytes, &Control::default()).unwrap();
        bytes
    }

    fn export(&self, driver: &Driver, record: &Record, parent: Option<&Backup>) -> (Backup, BackupSummary) {
        driver.export(&self.repository, record, parent, &ExportOptions::default()).unwrap()
    }
}

struct Api;

impl VolumeApi for Api {
    fn get_metadata(&self, _volume_id: &str) -> Result<Option<String>, Error> {
        Ok(Some("{\"version\": 2, \"volume-metadata\": {\"name\": \"é\"}}".to_owned()))
    }

    fn put_metadata(&self, _volume_id: &str, _volume_meta: &str) -> Result<(), Error> {
        Ok(())
    }
}

fn volumes() -> Vec<Vec<u8>> {
    let mut first = text(1, 9 * CHUNK + 1000);
    first[2 * CHUNK..6 * CHUNK].fill(0);
    let mut second = first.clone();
    second[CHUNK..CHUNK + 3 * BLOCK].copy_from_slice(&text(2, 3 * BLOCK));
    second[7 * CHUNK..8 * CHUNK].fill(0);
    let mut third = second[..8 * CHUNK + 10].to_vec();
    third[5] ^= 1;
    vec![first, second, third]
}

fn documented(place: &Place) -> Driver {
    let context = Context { volume_api: Some(Arc::new(Api)), ..context("zlib") };
    driver_on(Arc::clone(&place.memory) as _, context, CHUNK as u64, BLOCK as u64)
}

fn chain(place: &Place, driver: &Driver) -> (Vec<Vec<u8>>, Vec<Layer>) {
    let volumes = volumes();
    let chain = place.chain(driver, &volumes);
    (volumes, chain.iter().map(|backup| layer(driver, backup)).collect())
}

#[test]
fn each_layer_becomes_a_backup_of_its_own() {
    // Chunks that are blocks, smaller ones, and larger ones.
    for chunk_bytes in [4096, 8192, 65536] {
        let (place, store) = (Place::new(), Store::new(chunk_bytes));
        let driver = documented(&place);
        let (volumes, layers) = chain(&place, &driver);
        let imported = store.import(&driver, &layers).unwrap();
        for (number, (imported, volume)) in imported.iter().zip(&volumes).enumerate() {
            // Unlike a restore in Cinder, that of a volume which shrank ends where the volume did.
            assert!(store.restore(&imported.record) == *volume, "{chunk_bytes}: layer {number}");
            assert_eq!(imported.record.id.to_string(), imported.backup.id);
            assert_eq!(imported.record.name.as_deref(), Some(format!("night {}", number + 1).as_str()));
            assert_eq!(imported.record.created_at.to_string(), "2026-08-21T18:05:24Z");
        }
        assert_eq!(imported[1].record.parent, Some(imported[0].record.id));
        // An increment costs what its objects cost.
        assert_eq!(imported[1].record.statistics.read_bytes, (3 * BLOCK + CHUNK) as u64);
    }
}

#[test]
fn importing_again_changes_nothing() {
    let (place, store) = (Place::new(), Store::new(4096));
    let driver = documented(&place);
    let (volumes, layers) = chain(&place, &driver);
    store.import(&driver, &layers[..2]).unwrap();
    let again = store.import(&driver, &layers).unwrap();
    assert_eq!(again.iter().map(|imported| imported.was_there).collect::<Vec<_>>(), [true, true, false]);
    assert!(store.restore(&again[2].record) == volumes[2]);
    assert_eq!(store.repository.backups(None).unwrap().len(), 3);
}

#[test]
fn exports_say_what_cinder_said() {
    let (place, store) = (Place::new(), Store::new(4096));
    let driver = documented(&place);
    let (volumes, layers) = chain(&place, &driver);
    let imported = store.import(&driver, &layers).unwrap();
    let out = Place::new();
    let target = out.driver("zstd", CHUNK as u64, BLOCK as u64);
    let mut parent: Option<Backup> = None;
    for (number, imported) in imported.iter().enumerate() {
        // Flattened, whatever it was before.
        let (flat, _) = store.export(&target, &imported.record, None);
        let exported = layer(&target, &flat);
        assert_eq!(exported.metadata.head, layers[number].metadata.head);
        assert_eq!(exported.metadata.volume_meta, layers[number].metadata.volume_meta);
        assert_eq!(exported.metadata.parent_id, None);
        assert!(out.restore_new(&target, std::slice::from_ref(&flat)).unwrap() == volumes[number]);
        assert!(target.inspect(&exported.container, exported.prefix.as_str(), true).unwrap().is_whole());
        target.delete_backup(&flat).unwrap();

        // And as it was: an increment of the one before.
        let (backup, _) = store.export(&target, &imported.record, parent.as_ref());
        let exported = layer(&target, &backup);
        assert_eq!(exported.metadata.parent_id, layers[number].metadata.parent_id);
        assert!(target.inspect(&exported.container, exported.prefix.as_str(), true).unwrap().is_whole());
        let extents = |layer: &Layer| layer.objects.iter().map(|o| (o.offset, o.length, o.md5)).collect::<Vec<_>>();
        assert_eq!(extents(&exported), extents(&layers[number]), "the same objects");
        parent = Some(backup);
    }
}

/// The list of hashes is gathered, not computed: it is the one that the chunks were stored with.
#[test]
fn an_unchanged_increment_is_exported_without_reading_data() {
    let (place, store) = (Place::new(), Store::new(4096));
    let driver = documented(&place);
    let (_, layers) = chain(&place, &driver);
    let imported = store.import(&driver, &layers[..1]).unwrap();
    let out = Place::new();
    let target = out.driver("none", CHUNK as u64, BLOCK as u64);
    let (parent, _) = store.export(&target, &imported[0].record, None);
    let options = {
        let mut options = ExportOptions::default();
        options.backup_id = Some("33333333-2222-2222-2222-000000000000".to_owned());
        options
    };
    let (backup, summary) = target.export(&store.repository, &imported[0].record, Some(&parent), &options).unwrap();
    assert_eq!((backup.object_count, summary.stored_bytes), (0, 0));
    assert_eq!(backup.parent_id, Some(parent.id));
}

#[test]
fn damage_stops_an_import_and_leaves_the_layers_before_it() {
    let (place, store) = (Place::new(), Store::new(4096));
    let driver = documented(&place);
    let (_, layers) = chain(&place, &driver);
    let name = format!("{}/{}", layers[1].container, layers[1].name(&layers[1].objects[0]));
    place.change(&name, |bytes| bytes[8] ^= 1);
    let error = store.import(&driver, &layers).unwrap_err();
    assert!(matches!(error, Error::DamagedObject { .. }), "{error}");
    assert_eq!(store.repository.backups(None).unwrap().len(), 1);
}

/// The list of a layer covers also what the layer did not store: a chain that was put together wrongly is noticed. The backup
/// was there by then, and had to be deleted again, which a killed import did not.
#[test]
fn a_list_of_hashes_that_does_not_fit_the_data_is_refused_before_the_backup_is_there() {
    let storage = Arc::new(Faulty::new(Memory::new()));
    storage.add(Rule::on(Kind::Delete));
    let (place, store) = (Place::new(), Store::on(storage, 4096));
    let driver = documented(&place);
    let (_, layers) = chain(&place, &driver);
    let name = format!("{}/{}", layers[1].container, layers[1].prefix.sha256file());
    place.change(&name, |bytes| {
        let at = String::from_utf8_lossy(bytes).find("\"sha256s\": [").unwrap() + 30;
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    });
    let error = store.import(&driver, &layers).unwrap_err().to_string();
    assert!(error.contains("has another SHA-256 than"), "{error}");
    assert_eq!(store.repository.backups(None).unwrap().len(), 1, "only the layer before it stays");
}

/// Chunks of Cinder's block have their hashes stored, smaller ones are read: either way the list counts.
#[test]
fn a_list_of_hashes_is_held_against_stored_hashes_and_against_data() {
    for block in [4 << 10, 32 << 10] {
        let (place, store) = (Place::new(), Store::new(block as u32));
        let driver = place.driver("zlib", 4 * block as u64, block as u64);
        let first = [text(1, 5 * block), vec![0; 3 * block], text(2, block + 100)].concat();
        let mut second = first.clone();
        second[2 * block + 7] ^= 1;
        let layers: Vec<_> = place.chain(&driver, &[first, second]).iter().map(|made| layer(&driver, made)).collect();
        let name = format!("{}/{}", layers[1].container, layers[1].prefix.sha256file());
        let mut right = Vec::new();
        place.change(&name, |bytes| {
            right.clone_from(bytes);
            let at = String::from_utf8_lossy(bytes).find("\"sha256s\": [").unwrap() + 30;
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        });
        let error = store.import(&driver, &layers).unwrap_err().to_string();
        assert!(error.contains("has another SHA-256 than"), "{block}: {error}");
        place.change(&name, |bytes| bytes.clone_from(&right));
        let imported = store.import(&driver, &layers).unwrap();
        assert_eq!(imported.iter().map(|imported| imported.was_there).collect::<Vec<_>>(), [true, false]);
    }
}

#[test]
fn a_backup_that_never_was_in_cinder_is_exported_too() {
    let (place, store) = (Place::new(), Store::new(4096));
    let volume = text(7, 5 * CHUNK + 3);
    let source = cinderblock_pipeline::Source::stream(Box::new(std::io::Cursor::new(volume.clone())), "memory");
    let mut options = cinderblock_pipeline::BackupOptions::new("vm-1".parse().unwrap());
    options.name = Some("n".to_owned());
    let record = store.engine.backup(&store.repository, source, &options, &Control::default()).unwrap();
    for block in [BLOCK as u64, 2 * BLOCK as u64] {
        let target = place.driver("bz2", 4 * block, block);
        let (backup, _) = store.export(&target, &record, None);
        assert_eq!((backup.volume_id.as_str(), backup.display_name.as_deref()), ("vm-1", Some("n")));
        assert!(place.restore_new(&target, std::slice::from_ref(&backup)).unwrap() == volume);
        let exported = layer(&target, &backup);
        assert!(target.inspect(&exported.container, exported.prefix.as_str(), true).unwrap().is_whole());
        target.delete_backup(&backup).unwrap();
    }
}

/// The id, the name and the time may all be those of an earlier attempt.
#[test]
fn a_backup_that_was_made_anew_is_not_taken_for_the_one_that_is_there() {
    for (number, bytes) in [text(9, 3 * CHUNK), text(9, 2 * CHUNK)].into_iter().enumerate() {
        let store = Store::new(4096);
        let (first, again) = (Place::new(), Place::new());
        let (driver, later) = (documented(&first), documented(&again));
        let before = first.back_up(&driver, 1, &text(8, 3 * CHUNK), None).unwrap().0;
        let after = again.back_up(&later, 1, &bytes, None).unwrap().0;
        let imported = store.import(&driver, &[layer(&driver, &before)]).unwrap();
        let error = store.import(&later, &[layer(&later, &after)]).unwrap_err();
        let expected = ["other data", "another size"][number];
        assert!(matches!(&error, Error::InvalidBackup { reason } if reason.contains(expected)), "{error}");
        assert!(store.restore(&imported[0].record) == text(8, 3 * CHUNK));
    }
}
