//! `init`

use cinderblock_chunker::ChunkSize;
use cinderblock_store::{Repository, Secret};
use serde::Serialize;

use crate::arguments::keys::Encrypt;
use crate::context::Context;
use crate::failure::Usage;
use crate::secrets::Sources;

#[derive(Serialize)]
struct Made {
    repository_id: String,
    chunk_size: u32,
    location: String,
    encrypted: bool,
}

/// What the repository is to be opened with.
fn secret(keys: Sources, encrypt: Encrypt) -> anyhow::Result<Secret> {
    match (encrypt, keys.key_file) {
        (Encrypt::KeyFile, None) => Err(Usage("--encrypt key-file needs --key-file FILE".to_owned()).into()),
        (Encrypt::Passphrase, Some(_)) => Err(Usage("--encrypt passphrase takes no key file".to_owned()).into()),
        _ => keys.new_secret(),
    }
}

pub fn run(
    context: &Context,
    chunk_size: ChunkSize,
    encrypt: Option<Encrypt>,
    label: Option<&str>,
) -> anyhow::Result<()> {
    let secret = encrypt.map(|encrypt| secret(context.keys(), encrypt)).transpose()?;
    let storage = context.new_storage()?;
    let id = match &secret {
        None => Repository::create(&*storage, chunk_size)?,
        Some(secret) => Repository::create_encrypted(&*storage, chunk_size, secret, label.unwrap_or_default())?,
    };
    let made = Made {
        repository_id: id.to_string(),
        chunk_size: chunk_size.bytes(),
        location: storage.location(),
        encrypted: secret.is_some(),
    };
    context.summary(&made, || {
        let kind = if made.encrypted { "encrypted repository" } else { "repository" };
        format!("{kind} {id} made at {}, chunks of {chunk_size}\n", made.location)
    })
}
