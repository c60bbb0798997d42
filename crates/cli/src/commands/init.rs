//! `init`

use std::sync::Arc;

use anyhow::Context as _;
use cinderblock_backend::{Backend, Error as BackendError, RetentionMode};
use cinderblock_chunker::ChunkSize;
use cinderblock_store::{ObjectLock, Repository};
use serde::Serialize;

use crate::arguments::{Lock, LockMode};
use crate::context::Context;

#[derive(Serialize)]
struct Made {
    repository_id: String,
    chunk_size: u32,
    location: String,
    object_lock: Option<LockFacts>,
}

#[derive(Serialize)]
struct LockFacts {
    seconds: u64,
    mode: &'static str,
}

pub fn run(context: &Context, chunk_size: ChunkSize, lock: &Lock) -> anyhow::Result<()> {
    let storage = context.new_storage()?;
    // Before anything is made: a repository that is not what was asked for is none to begin with.
    if lock.period.is_some() && !storage.can_retain()? {
        return Err(BackendError::CannotRetain { location: storage.location() }.into());
    }
    let id = Repository::create(&*storage, chunk_size)?;
    let location = storage.location();
    let object_lock = lock.period.map(|period| set_lock(context, storage, period, lock.mode)).transpose()?;
    let locked = match (&object_lock, lock.period) {
        (Some(facts), Some(period)) => {
            format!("; backups are locked for {} days ({})", period.as_secs() / 86_400, facts.mode)
        }
        _ => String::new(),
    };
    let made = Made { repository_id: id.to_string(), chunk_size: chunk_size.bytes(), location, object_lock };
    context.summary(&made, || format!("repository {id} made at {}, chunks of {chunk_size}{locked}\n", made.location))
}

fn set_lock(
    context: &Context,
    storage: Arc<dyn Backend>,
    period: std::time::Duration,
    mode: LockMode,
) -> anyhow::Result<LockFacts> {
    let (mode, name) = match mode {
        LockMode::Compliance => (RetentionMode::Compliance, "compliance"),
        LockMode::Governance => (RetentionMode::Governance, "governance"),
    };
    let location = storage.location();
    let set =
        context.opened(storage).and_then(|repository| Ok(repository.set_object_lock(ObjectLock { period, mode })?));
    set.with_context(|| {
        format!("the repository was made, and does not lock anything: remove it (cinderblock.json and policy/ at {location}), and make it again")
    })?;
    Ok(LockFacts { seconds: period.as_secs(), mode: name })
}
