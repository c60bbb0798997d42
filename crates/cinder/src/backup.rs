//! [`Backup`]: what Cinder's database knows about a backup.

/// A row of Cinder's table of backups, as far as its chunked driver reads or writes it.
///
/// A driver does not trust a backup's own metadata for what belongs together: chain, container and prefix come from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Its id: in Cinder a UUID.
    pub id: String,
    /// Id of its volume: in Cinder a UUID.
    pub volume_id: String,
    /// Id of the backup that it is an increment of; none for a full backup.
    pub parent_id: Option<String>,
    /// The container that holds its objects; the driver chooses one where there is none.
    pub container: Option<String>,
    /// What the names of all its objects begin with, and those of no other object. A backup sets it.
    pub service_metadata: Option<String>,
    /// Size of the volume in GiB, rounded up; 0 where it is not known yet. A backup sets it.
    pub size_gib: u64,
    /// Number of its data objects. A backup sets it.
    pub object_count: u64,
    /// A name for people.
    pub display_name: Option<String>,
    /// A longer text for people.
    pub display_description: Option<String>,
    /// When it was made, as Python's `str(datetime)` writes it, such as `2026-08-21 18:05:24+00:00`; `None`, the text,
    /// where Cinder's database had nothing.
    pub created_at: String,
}
