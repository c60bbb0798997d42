//! `init`

use std::sync::Arc;

use anyhow::Context as _;
use cinderblock_backend::{Backend, Error as BackendError, RetentionMode};
use cinderblock_chunker::ChunkSize;
use cinderblock_store::{ObjectLock, Repository, Secret};
use serde::Serialize;

use crate::arguments::keys::Encrypt;
use crate::arguments::{Lock, LockMode};
use crate::context::Context;
use crate::failure::Usage;
use crate::secrets::Sources;

#[derive(Serialize)]
struct Made {
    repository_id: String,
    chunk_size: u32,
    location: String,
    encrypted: bool,
    object_lock: Option<LockFacts>,
}

#[derive(Serialize)]
struct LockFacts {
    seconds: u64,
    mode: &'static str,
}

/// What the repository is to be opened with.
fn secret(keys: Sources, encrypt: Encrypt) -> anyhow::Result<Secret> {
    match (encrypt, keys.key_file) {
        (Encrypt::KeyFile, None) => {
            Err(Usage("--encrypt key-file needs --key-file FILE, which is made if it does not exist".to_owned()).into())
        }
        (Encrypt::Passphrase, Some(_)) => Err(Usage("--encrypt passphrase takes no key file".to_owned()).into()),
        _ => keys.new_secret(),
    }
}

pub fn run(
    context: &Context,
    chunk_size: ChunkSize,
    (encrypt, label): (Option<Encrypt>, Option<&str>),
    lock: &Lock,
) -> anyhow::Result<()> {
    let keys = context.keys();
    if encrypt.is_none() && keys.are_given() {
        // Whoever has a key at hand would take the repository for an encrypted one.
        let text = format!(
            "one of {} was given, but not --encrypt passphrase or key-file: give both or neither",
            keys.options
        );
        return Err(Usage(text).into());
    }
    let secret = encrypt.map(|encrypt| secret(context.keys(), encrypt)).transpose()?;
    let storage = context.new_storage()?;
    // Before anything is made: a repository that is not what was asked for is none to begin with.
    if lock.period.is_some() && !storage.can_retain()? {
        return Err(BackendError::CannotRetain { location: storage.location() }.into());
    }
    let id = match &secret {
        None => Repository::create(&*storage, chunk_size)?,
        Some(secret) => Repository::create_encrypted(&*storage, chunk_size, secret, label.unwrap_or_default())?,
    };
    let location = storage.location();
    let set = |period| set_lock(context, storage, secret, period, lock.mode);
    let object_lock = lock.period.map(set).transpose()?;
    let locked = match (&object_lock, lock.period) {
        (Some(facts), Some(period)) => {
            format!("; backups are locked for {} days ({})", period.as_secs() / 86_400, facts.mode)
        }
        _ => String::new(),
    };
    let made = Made {
        repository_id: id.to_string(),
        chunk_size: chunk_size.bytes(),
        location,
        encrypted: encrypt.is_some(),
        object_lock,
    };
    context.summary(&made, || {
        let kind = if made.encrypted { "encrypted repository" } else { "repository" };
        format!("{kind} {id} made at {}, chunks of {chunk_size}{locked}\n", made.location)
    })
}

fn set_lock(
    context: &Context,
    storage: Arc<dyn Backend>,
    secret: Option<Secret>,
    period: std::time::Duration,
    mode: LockMode,
) -> anyhow::Result<LockFacts> {
    let (mode, name) = match mode {
        LockMode::Compliance => (RetentionMode::Compliance, "compliance"),
        LockMode::Governance => (RetentionMode::Governance, "governance"),
    };
    let location = storage.location();
    let set = context
        .opened(storage, secret)
        .and_then(|repository| Ok(repository.set_object_lock(ObjectLock { period, mode })?));
    set.with_context(|| {
        format!(
            "the repository was made, and does not lock anything: remove it (cinderblock.json, keys/ and policy/ at {location}), and make it again"
        )
    })?;
    Ok(LockFacts { seconds: period.as_secs(), mode: name })
}
