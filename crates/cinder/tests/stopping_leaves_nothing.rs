//! A backup that is cancelled or fails leaves no objects; a restore that does, no target.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cinderblock_backend::{Backend, Faulty, Kind, Memory, Rule};
use cinderblock_cinder::{
    BackendContainers, Backup, ChunkedBackupDriver, ChunkedStorage, Context, Error, Layout, ObjectReader, ObjectWriter,
};
use cinderblock_pipeline::{CancelToken, Control, Settings, Target};
use common::{Place, VOLUME, context, driver_on, row, text};

const BLOCK: u64 = 4096;
const CHUNK: u64 = 4 * BLOCK;

/// Storage that asks to stop when an operation of a kind comes for the n-th time.
fn stops_at(memory: &Arc<Memory>, kind: Kind, count: u64, cancel: &CancelToken) -> Arc<dyn Backend> {
    let faulty = Faulty::new(Arc::clone(memory) as Arc<dyn Backend>);
    let (cancel, seen) = (cancel.clone(), AtomicU64::new(0));
    faulty.add(Rule::on(kind).when(move |_| {
        if seen.fetch_add(1, Ordering::Relaxed) + 1 == count {
            cancel.cancel();
        }
        false
    }));
    Arc::new(faulty)
}

fn cancellable(cancel: &CancelToken) -> Context {
    let control = Control { cancel: cancel.clone(), ..Control::default() };
    // One thread and one lane, so that objects come one after the other.
    let settings = Settings { threads: 1, ..Settings::default() };
    Context { control, settings, ..context("zlib") }
}

#[test]
fn a_cancelled_backup_deletes_its_objects() {
    let place = Place::new();
    let volume = place.volume("volume", &text(1, 100 * CHUNK as usize));
    for count in [1, 3, 20, 60] {
        let cancel = CancelToken::default();
        let storage = stops_at(&place.memory, Kind::Create, count, &cancel);
        let driver = driver_on(storage, cancellable(&cancel), CHUNK, BLOCK);
        let error = driver.backup(&mut row(1), &volume, None, false).unwrap_err();
        assert!(matches!(error, Error::BackupCancelled { .. }), "{error}");
        assert!(place.objects().is_empty(), "at object {count}");
    }
}

#[test]
fn a_cancelled_restore_leaves_no_new_target_and_an_existing_one_untouched() {
    let place = Place::new();
    let driver = place.driver("zlib", CHUNK, BLOCK);
    let backup = place.back_up(&driver, 1, &text(1, 100 * CHUNK as usize), None).unwrap().0;
    let cancel = CancelToken::default();
    let storage = stops_at(&place.memory, Kind::ReadInto, 20, &cancel);
    let driver = driver_on(storage, cancellable(&cancel), CHUNK, BLOCK);
    let chain = [backup];
    let error = driver.restore(&chain, VOLUME, &Target::New(place.path("restored"))).unwrap_err();
    assert!(
        matches!(&error, Error::BackupRestoreCancel { backup_id, volume_id, partly_written: false }
            if *backup_id == chain[0].id && volume_id == VOLUME),
        "{error}"
    );
    assert!(!place.path("restored").exists());

    let cancel = CancelToken::default();
    let storage = stops_at(&place.memory, Kind::ReadInto, 20, &cancel);
    let driver = driver_on(storage, cancellable(&cancel), CHUNK, BLOCK);
    let (outcome, existing) = place.restore_over(&driver, &chain, 100 * CHUNK as usize);
    assert!(matches!(outcome, Err(Error::BackupRestoreCancel { partly_written: false, .. })));
    assert!(existing.iter().all(|byte| *byte == 0xa5));
}

/// While it writes over an existing target, stopping says that the target is a mixture.
#[test]
fn a_restore_that_is_cancelled_while_it_writes_says_so() {
    let place = Place::new();
    let driver = place.driver("none", CHUNK, BLOCK);
    let volume = text(1, 100 * CHUNK as usize);
    let backup = place.back_up(&driver, 1, &volume, None).unwrap().0;
    let cancel = CancelToken::default();
    // Each object is read once to be checked, before any is read to be written, because there is no memory to hold it.
    let storage = stops_at(&place.memory, Kind::ReadInto, 170, &cancel);
    let settings = Settings { threads: 1, memory_bytes: 1 << 20 };
    let driver = driver_on(storage, Context { settings, ..cancellable(&cancel) }, CHUNK, BLOCK);
    let (outcome, existing) = place.restore_over(&driver, std::slice::from_ref(&backup), volume.len());
    assert!(matches!(outcome, Err(Error::BackupRestoreCancel { partly_written: true, .. })), "{outcome:?}");
    assert!(existing != volume && existing.iter().any(|byte| *byte != 0xa5));
    let (outcome, existing) = place.restore_over(&place.driver("none", CHUNK, BLOCK), &[backup], volume.len());
    outcome.unwrap();
    assert!(existing == volume, "the same again finishes it");
}

/// Whatever operation of a backup fails, the backup fails, and what it wrote is deleted again.
#[test]
fn a_backup_whose_storage_fails_anywhere_leaves_nothing() {
    let place = Place::new();
    let volume = place.volume("volume", &text(1, 6 * CHUNK as usize + 10));
    let parent =
        place.back_up(&place.driver("zlib", CHUNK, BLOCK), 1, &text(2, 6 * CHUNK as usize + 10), None).unwrap().0;
    let before = place.objects();
    let mut failures = 0;
    for parent in [None, Some(&parent)] {
        for kind in [Kind::Create, Kind::Write, Kind::Finish, Kind::List] {
            for skip in 0.. {
                let faulty = Faulty::new(Arc::clone(&place.memory) as Arc<dyn Backend>);
                faulty.add(Rule::on(kind).skip(skip).times(1));
                let faulty = Arc::new(faulty);
                let driver = driver_on(Arc::clone(&faulty) as Arc<dyn Backend>, context("zlib"), CHUNK, BLOCK);
                let mut backup = row(2);
                let outcome = driver.backup(&mut backup, &volume, parent, false);
                if faulty.faults() == 0 {
                    outcome.unwrap();
                    place.driver("zlib", CHUNK, BLOCK).delete_backup(&backup).unwrap();
                    break;
                }
                failures += 1;
                let error = outcome.unwrap_err();
                assert!(!error.is_cancelled(), "the storage's error is told: {error}");
                assert_eq!(place.objects(), before, "{kind:?} {skip}");
            }
        }
    }
    assert!(failures > 40, "{failures}");
}

#[test]
fn a_restore_whose_storage_fails_anywhere_leaves_no_target() {
    let place = Place::new();
    let driver = place.driver("zlib", CHUNK, BLOCK);
    let backup: Backup = place.back_up(&driver, 1, &text(1, 6 * CHUNK as usize + 10), None).unwrap().0;
    for kind in [Kind::ReadInto, Kind::Size, Kind::List] {
        for skip in 0.. {
            let faulty = Faulty::new(Arc::clone(&place.memory) as Arc<dyn Backend>);
            faulty.add(Rule::on(kind).skip(skip).times(1));
            let faulty = Arc::new(faulty);
            let driver = driver_on(Arc::clone(&faulty) as Arc<dyn Backend>, context("zlib"), CHUNK, BLOCK);
            let outcome = place.restore_new(&driver, std::slice::from_ref(&backup));
            if faulty.faults() == 0 {
                outcome.unwrap();
                break;
            }
            let error = outcome.unwrap_err();
            assert!(!matches!(error, Error::DamagedObject { .. }), "a storage that fails is not damage: {error}");
        }
    }
}

#[test]
fn deleting_takes_only_a_backups_own_objects() {
    let place = Place::new();
    let driver = place.driver("zlib", CHUNK, BLOCK);
    let chain = place.chain(&driver, &[text(1, 3 * CHUNK as usize), text(2, 3 * CHUNK as usize)]);
    let all = place.objects();
    for (container, prefix) in
        [(None, None), (chain[0].container.clone(), None), (chain[0].container.clone(), Some(String::new()))]
    {
        let nothing = Backup { container, service_metadata: prefix, ..row(1) };
        assert_eq!(driver.delete_backup(&nothing).unwrap().deleted, 0);
    }
    // A prefix that is the beginning of others' takes none of theirs.
    let wide = Backup { service_metadata: Some("volume_".to_owned()), ..chain[0].clone() };
    let summary = driver.delete_backup(&wide).unwrap();
    assert_eq!((summary.deleted, summary.stray.len()), (0, 5));
    assert_eq!(place.objects(), all);

    assert_eq!(driver.delete_backup(&chain[0]).unwrap().deleted, 5);
    assert_eq!(driver.delete_backup(&chain[0]).unwrap().deleted, 0, "that they are missing is no error");
    let left = place.objects();
    assert!(left.iter().all(|name| name.starts_with(chain[1].container.as_deref().unwrap())) && left.len() == 5);
}

/// Storage of which the first listing comes too early to show what another process is about to make, in the same second and for
/// the same id.
#[derive(Debug)]
struct SamePrefix {
    inner: BackendContainers<Arc<dyn Backend>>,
    prefix: String,
    listings: AtomicU64,
}

impl ChunkedStorage for SamePrefix {
    fn put_container(&self, container: &str, create: bool) -> Result<(), Error> {
        self.inner.put_container(container, create)
    }

    fn get_container_entries(
        &self,
        container: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self.listings.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(()),
            _ => self.inner.get_container_entries(container, prefix, visit),
        }
    }

    fn get_object_writer<'a>(
        &'a self,
        container: &str,
        object_name: &str,
        extra_metadata: Option<&serde_json::Value>,
    ) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        self.inner.get_object_writer(container, object_name, extra_metadata)
    }

    fn get_object_reader<'a>(
        &'a self,
        container: &str,
        object_name: &str,
        extra_metadata: Option<&serde_json::Value>,
    ) -> Result<ObjectReader<'a>, Error> {
        self.inner.get_object_reader(container, object_name, extra_metadata)
    }

    fn object_size(&self, container: &str, object_name: &str) -> Result<u64, Error> {
        self.inner.object_size(container, object_name)
    }

    fn delete_object(&self, container: &str, object_name: &str) -> Result<(), Error> {
        self.inner.delete_object(container, object_name)
    }

    fn generate_object_name_prefix(&self, _backup: &Backup) -> Result<String, Error> {
        Ok(self.prefix.clone())
    }

    fn update_container_name(&self, backup: &Backup, container: Option<&str>) -> Result<Option<String>, Error> {
        self.inner.update_container_name(backup, container)
    }
}

#[test]
fn a_backup_that_meets_another_under_its_prefix_leaves_that_ones_objects() {
    let place = Place::new();
    let bytes = text(1, 20 * CHUNK as usize);
    let driver = place.driver("none", CHUNK, BLOCK);
    let theirs = place.back_up(&driver, 1, &bytes, None).unwrap().0;
    let objects = place.objects();

    let inner = BackendContainers::new(Arc::clone(&place.memory) as Arc<dyn Backend>, Layout::Posix, "");
    let prefix = theirs.service_metadata.clone().unwrap();
    let storage = SamePrefix { inner, prefix, listings: AtomicU64::new(0) };
    let second = ChunkedBackupDriver::new(context("none"), storage, CHUNK, BLOCK, None, false).unwrap();
    let error = second.backup(&mut row(1), &place.volume("volume", &bytes), None, false).unwrap_err();
    assert!(matches!(&error, Error::Backend(error) if error.is_already_exists()), "{error}");
    assert_eq!(place.objects(), objects);
    assert_eq!(place.restore_new(&driver, &[theirs]).unwrap(), bytes);
}
