//! A process that is no command: a collector that declares sessions ended after milliseconds, where `gc` wants 15 minutes at least.

use std::env;
use std::time::Duration;

use cinderblock_remote::Settings;
use cinderblock_store::gc::{GcOptions, Observer};
use cinderblock_store::{OpenOptions, Repository};

use super::deeds::AT_ONCE;

/// What such a process does, as [`AT_ONCE`] says.
pub fn collect_at_once() {
    let order = env::var(AT_ONCE).expect("another test starts this");
    let [repository, cache, patience] = order.split('\n').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let backend = cinderblock_remote::open(&repository.parse().unwrap(), &Settings::default()).unwrap();
    let repository = Repository::open(backend, &OpenOptions::new(cache)).unwrap();
    let fence_after = Duration::from_millis(patience.parse().unwrap());
    let options = GcOptions { grace: Duration::ZERO, fence_after, repack_below: 100, gather: true, dry_run: false };
    let report = match repository.collect_garbage(&options, &Observer::new(&|_| true)) {
        Ok(report) => report,
        Err(error) => panic!("{:#}", anyhow::Error::new(error)),
    };
    assert_eq!((report.missing, report.damage.len(), report.doubts.len()), (0, 0, 0), "{report:?}");
}
