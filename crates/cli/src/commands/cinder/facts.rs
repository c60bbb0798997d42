//! A Cinder backup as programs and people are told of it.

use cinderblock_cinder::Backup;
use serde::Serialize;

/// The JSON object of a backup: what Cinder's database has about it.
#[derive(Debug, Serialize)]
pub struct BackupFacts {
    backup_id: String,
    volume_id: String,
    parent_id: Option<String>,
    container: Option<String>,
    prefix: Option<String>,
    size_gib: u64,
    object_count: u64,
    name: Option<String>,
    description: Option<String>,
    created_at: String,
}

impl From<&Backup> for BackupFacts {
    fn from(backup: &Backup) -> Self {
        Self {
            backup_id: backup.id.clone(),
            volume_id: backup.volume_id.clone(),
            parent_id: backup.parent_id.clone(),
            container: backup.container.clone(),
            prefix: backup.service_metadata.clone(),
            size_gib: backup.size_gib,
            object_count: backup.object_count,
            name: backup.display_name.clone(),
            description: backup.display_description.clone(),
            created_at: backup.created_at.clone(),
        }
    }
}

/// Where a backup is, as `--layer` takes it.
pub fn place(backup: &Backup) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}:{}", text(&backup.container), text(&backup.service_metadata))
}
