//! `init`

use cinderblock_chunker::ChunkSize;
use cinderblock_store::Repository;
use serde::Serialize;

use crate::context::Context;

#[derive(Serialize)]
struct Made {
    repository_id: String,
    chunk_size: u32,
    location: String,
}

pub fn run(context: &Context, chunk_size: ChunkSize) -> anyhow::Result<()> {
    let storage = context.new_storage()?;
    let id = Repository::create(&*storage, chunk_size)?;
    let made = Made { repository_id: id.to_string(), chunk_size: chunk_size.bytes(), location: storage.location() };
    context.summary(&made, || format!("repository {id} made at {}, chunks of {chunk_size}\n", made.location))
}
