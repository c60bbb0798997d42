//! `init`

use cinderblock_backend::{Backend, Folder};
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
    let folder = Folder::create(context.repository_folder()?)?;
    let id = Repository::create(&folder, chunk_size)?;
    let made = Made { repository_id: id.to_string(), chunk_size: chunk_size.bytes(), location: folder.location() };
    context.summary(&made, || format!("repository {id} made at {}, chunks of {chunk_size}\n", made.location))
}
