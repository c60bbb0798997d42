//! Notifications, and the volume's metadata.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cinderblock_backend::Backend;
use cinderblock_cinder::{Context, Error, VolumeApi};
use cinderblock_pipeline::Target;
use common::{Place, VOLUME, context, driver_on, row, text};

const BLOCK: u64 = 4096;
const CHUNK: u64 = 4 * BLOCK;

/// A context that keeps notifications.
fn listening() -> (Context, Arc<Mutex<Vec<f64>>>) {
    let heard: Arc<Mutex<Vec<f64>>> = Arc::default();
    let keep = Arc::clone(&heard);
    let notify = Arc::new(move |backup: &cinderblock_cinder::Backup, told: &cinderblock_cinder::Notification| {
        assert_eq!(backup.id, told.backup_id);
        keep.lock().unwrap().push(told.backup_percent);
    });
    (Context { notify: Some(notify), ..context("none") }, heard)
}

#[test]
fn progress_is_a_true_percentage_told_every_so_many_chunks() {
    let place = Place::new();
    let (mut context, heard) = listening();
    context.object_number_per_notification = 10;
    context.settings.threads = 1;
    let driver = driver_on(Arc::clone(&place.memory) as Arc<dyn Backend>, context, CHUNK, BLOCK);
    let volume = place.volume("volume", &text(1, 100 * CHUNK as usize));
    let mut backup = row(1);
    driver.backup(&mut backup, &volume, None, false).unwrap();
    let full = std::mem::take(&mut *heard.lock().unwrap());
    assert_eq!(full.len(), 11, "{full:?}");
    assert!(full.is_sorted() && full.iter().all(|percent| (5.0..=100.0).contains(percent)), "{full:?}");
    assert!(full[0] < 30.0, "{full:?}");
    assert_eq!(full.last(), Some(&100.0));
    // The next backup by the same driver begins at nothing again.
    driver.backup(&mut row(2), &volume, None, false).unwrap();
    let next = std::mem::take(&mut *heard.lock().unwrap());
    assert!(next[0] < 30.0 && next.is_sorted(), "{next:?}");
}

#[test]
fn the_timer_tells_too() {
    let place = Place::new();
    let (mut context, heard) = listening();
    context.object_number_per_notification = 0;
    context.backup_timer_interval = Duration::from_millis(1);
    let containers = cinderblock_cinder::BackendContainers::new(
        Arc::clone(&place.memory) as Arc<dyn Backend>,
        cinderblock_cinder::Layout::Swift,
        "az",
    );
    let default = Some("volumebackups".to_owned());
    let driver = common::Driver::new(context, containers, CHUNK, BLOCK, default, true).unwrap();
    let (mut number, mut id) = (1, 0);
    // How long a backup takes is not for a test to say: until the timer was faster than one.
    while heard.lock().unwrap().len() < number {
        heard.lock().unwrap().clear();
        number += 1;
        // Of its own: within a second, backups of one id have the same prefix.
        id += 1;
        let mut backup = row(id);
        let volume = place.volume("volume", &text(1, number * 20 * CHUNK as usize));
        driver.backup(&mut backup, &volume, None, false).unwrap();
        assert_eq!(backup.container.as_deref(), Some("volumebackups"));
        number = heard.lock().unwrap().len().max(2).min(number + 1);
    }
}

/// Keeps what a restore puts back.
struct Api {
    given: Option<String>,
    put: Mutex<Vec<String>>,
}

impl VolumeApi for Api {
    fn get_metadata(&self, volume_id: &str) -> Result<Option<String>, Error> {
        assert_eq!(volume_id, VOLUME);
        Ok(self.given.clone())
    }

    fn put_metadata(&self, volume_id: &str, volume_meta: &str) -> Result<(), Error> {
        assert_eq!(volume_id, VOLUME);
        self.put.lock().unwrap().push(volume_meta.to_owned());
        Ok(())
    }
}

fn chain_with(given: &[&str]) -> (Place, Vec<cinderblock_cinder::Backup>) {
    let place = Place::new();
    let mut chain = Vec::new();
    for (number, text) in (1..).zip(given) {
        let api = Api { given: Some((*text).to_owned()), put: Mutex::default() };
        let context = Context { volume_api: Some(Arc::new(api)), ..context("none") };
        let driver = driver_on(Arc::clone(&place.memory) as Arc<dyn Backend>, context, CHUNK, BLOCK);
        let backup = place.back_up(&driver, number, &common::text(number.into(), 1000), chain.last()).unwrap().0;
        chain.push(backup);
    }
    (place, chain)
}

#[test]
fn the_volumes_metadata_are_put_back_once_for_each_layer() {
    let texts = ["{\"version\": 2, \"volume-base-metadata\": {\"display_name\": \"é\"}}", "{\"version\": 1}"];
    let (place, chain) = chain_with(&texts);
    let api = Arc::new(Api { given: None, put: Mutex::default() });
    let context = Context { volume_api: Some(Arc::clone(&api) as Arc<dyn VolumeApi>), ..context("none") };
    let driver = driver_on(Arc::clone(&place.memory) as Arc<dyn Backend>, context, CHUNK, BLOCK);
    driver.restore(&chain, VOLUME, &Target::New(place.path("restored"))).unwrap();
    assert_eq!(*api.put.lock().unwrap(), texts);
}

/// Writes other metadata of the volume into a backup.
fn with_volume_meta(text: &str) -> (Place, Vec<cinderblock_cinder::Backup>) {
    let (place, chain) = chain_with(&["{\"version\": 2}"]);
    let [backup] = chain.as_slice() else { unreachable!() };
    let (container, prefix) = (backup.container.as_deref().unwrap(), backup.service_metadata.as_deref().unwrap());
    place.change(&format!("{container}/{prefix}_metadata"), |bytes| {
        let written = String::from_utf8(bytes.clone()).unwrap();
        let quoted = serde_json::to_string(text).unwrap();
        *bytes = written.replace("\"{\\\"version\\\": 2}\"", &quoted).into_bytes();
        assert_ne!(*bytes, written.as_bytes());
    });
    (place, chain)
}

#[test]
fn metadata_of_an_unknown_version_are_refused_before_a_target_is_touched() {
    for text in ["{\"version\": 3}", "{}", "3"] {
        let (place, chain) = with_volume_meta(text);
        let driver = place.driver("none", CHUNK, BLOCK);
        let error = driver.restore(&chain, VOLUME, &Target::New(place.path("restored"))).unwrap_err();
        assert!(matches!(error, Error::BackupOperation { .. }), "{text}: {error}");
        assert!(!place.path("restored").exists());
    }
}

/// Such a backup could be written, and not restored.
#[test]
fn metadata_that_no_restore_takes_are_refused_before_a_backup_is_written() {
    for text in ["{\"version\": 3}", "{}", "3", "no JSON"] {
        let place = Place::new();
        let api = Api { given: Some(text.to_owned()), put: Mutex::default() };
        let context = Context { volume_api: Some(Arc::new(api)), ..context("none") };
        let driver = driver_on(Arc::clone(&place.memory) as Arc<dyn Backend>, context, CHUNK, BLOCK);
        let error = place.back_up(&driver, 1, &common::text(1, 1000), None).unwrap_err();
        assert!(matches!(error, Error::BackupOperation { .. }), "{text}: {error}");
        assert!(place.objects().is_empty());
    }
}

/// `if volume_meta:` is false for it in Cinder.
#[test]
fn an_empty_text_is_no_metadata() {
    let (place, chain) = with_volume_meta("");
    let bytes = place.restore_new(&place.driver("none", CHUNK, BLOCK), &chain).unwrap();
    assert_eq!(bytes, common::text(1, 1000));
    let (place, chain) = chain_with(&[""]);
    let driver = place.driver("none", CHUNK, BLOCK);
    assert_eq!(common::layer(&driver, &chain[0]).metadata.volume_meta, None);
}

#[test]
fn texts_that_no_reader_takes_are_refused_before_a_backup_is_written() {
    let place = Place::new();
    let driver = place.driver("none", CHUNK, BLOCK);
    let volume = place.volume("volume", &text(1, 1000));
    let mut backup = row(1);
    backup.created_at = "x".repeat(1025);
    let error = driver.backup(&mut backup, &volume, None, true).unwrap_err();
    assert!(matches!(error, Error::InvalidBackup { .. }), "{error}");
    assert!(place.objects().is_empty());
}
