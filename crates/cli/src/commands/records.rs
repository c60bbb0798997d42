//! Reading the records of many backups.

use anyhow::Context as _;
use cinderblock_pipeline::CancelToken;
use cinderblock_store::{BackupId, Error, Record, Repository, SessionId, VolumeId};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::context::Context;

/// Threads for each of those that compute: small objects are waited for more than worked on.
const WAITING_THREADS: usize = 4;

/// The session of a record that can't be read: no collector gives up on it.
const NOBODY: SessionId = SessionId::from_bytes([0; 16]);

/// A backup, and what was wanted of its record or why that cannot be read.
pub struct Entry<T> {
    pub volume: VolumeId,
    pub id: BackupId,
    pub record: Result<T, Error>,
}

/// Threads for many small requests to the storage: as many as it wants at once, where it is far away.
pub fn pool(context: &Context, repository: &Repository) -> anyhow::Result<ThreadPool> {
    let threads = context.settings().threads.saturating_mul(WAITING_THREADS);
    let threads = threads.max(repository.backend().requests_in_flight().min(64));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().context("threads could not be started")
}

/// Reads all records, or those of one volume, in no particular order, and keeps of each what `wanted` makes of it. Backups
/// that are deleted meanwhile are left out.
pub fn read<T: Send>(
    pool: &ThreadPool,
    repository: &Repository,
    volume: Option<&VolumeId>,
    cancel: &CancelToken,
    wanted: impl Fn(Record) -> T + Sync,
) -> anyhow::Result<Vec<Entry<T>>> {
    let listed = repository.backups(volume)?;
    let read = |(volume, id): (VolumeId, BackupId)| {
        if cancel.is_cancelled() {
            return Some(Err(anyhow::anyhow!("stopped while records were read")));
        }
        match repository.unchecked_record(&volume, id) {
            Ok(record) => Some(Ok((record.session, Entry { volume, id, record: Ok(wanted(record)) }))),
            // Deleted since it was listed.
            Err(Error::BackupNotFound { .. }) => None,
            Err(error)
                if error.is_damage() || matches!(error, Error::NewerFormat { .. } | Error::Unsupported { .. }) =>
            {
                Some(Ok((NOBODY, Entry { volume, id, record: Err(error) })))
            }
            Err(error) => Some(Err(anyhow::Error::new(error).context(format!("reading backup {id} of {volume}")))),
        }
    };
    let mut entries: Vec<(SessionId, Entry<T>)> =
        pool.install(|| listed.into_par_iter().filter_map(read).collect::<anyhow::Result<_>>())?;
    repository
        .retain_valid(&mut entries, |(session, _)| *session)
        .context("looking for sessions that were given up")?;
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// Refuses a volume that has no backups: mostly it is a slip of the pen, and nobody would notice that its backups are copied nowhere.
pub fn expect_some<T>(entries: &[Entry<T>], volume: Option<&VolumeId>) -> anyhow::Result<()> {
    match volume {
        Some(volume) if entries.is_empty() => {
            anyhow::bail!("there are no backups of volume {volume}: 'cinderblock list' shows which there are")
        }
        _ => Ok(()),
    }
}
