//! [`Layout`]: how Cinder's drivers name containers and objects.

use std::fmt;
use std::str::FromStr;

use crate::backup::Backup;
use crate::error::Error;

/// Naming of containers and objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// As the posix, nfs and glusterfs drivers: a container for each backup, named for its id.
    #[default]
    Posix,
    /// As the swift, s3 and gcs drivers: one container for all, a name with slashes for each backup.
    Swift,
}

impl Layout {
    /// Cinder's default size of a data object in bytes: `backup_file_size` (61,035 blocks), `backup_swift_object_size` and its likes
    /// (50 MiB).
    pub const fn default_chunk_size_bytes(self) -> u64 {
        match self {
            Layout::Posix => 1_999_994_880,
            Layout::Swift => 52_428_800,
        }
    }

    /// Cinder's default size of a hash block in bytes: 32,768 in all drivers.
    pub const DEFAULT_SHA_BLOCK_SIZE_BYTES: u64 = 32_768;

    /// The container where none is given: none for posix, which names one for each backup.
    pub const fn default_container(self) -> Option<&'static str> {
        match self {
            Layout::Posix => None,
            Layout::Swift => Some("volumebackups"),
        }
    }

    /// The container of a new backup: `22/22/2222…` for posix. None to keep the one that was given, or the default.
    ///
    /// # Errors
    /// [`Error::InvalidName`] where the backup's id is too short to be cut so.
    pub fn container(self, backup: &Backup, given: Option<&str>) -> Result<Option<String>, Error> {
        match (self, given) {
            (Layout::Posix, None) => match (backup.id.get(0..2), backup.id.get(2..4)) {
                (Some(first), Some(second)) => Ok(Some(format!("{first}/{second}/{}", backup.id))),
                _ => Err(Error::InvalidName {
                    what: "the backup id",
                    text: backup.id.clone(),
                    reason: "it has to have at least 4 characters, such as a UUID".to_owned(),
                }),
            },
            (_, given) => Ok(given.map(str::to_owned)),
        }
    }

    /// What the names of a backup's objects begin with. `timestamp` is UTC as `%Y%m%d%H%M%S`.
    pub fn object_name_prefix(self, backup: &Backup, timestamp: &str, availability_zone: &str) -> String {
        let Backup { id, volume_id, .. } = backup;
        match self {
            Layout::Posix => format!("volume_{volume_id}_{timestamp}_backup_{id}"),
            Layout::Swift => format!("volume_{volume_id}/{timestamp}/az_{availability_zone}_backup_{id}"),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layout::Posix => "posix",
            Layout::Swift => "swift",
        })
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "posix" => Ok(Layout::Posix),
            "swift" => Ok(Layout::Swift),
            _ => Err("it has to be posix or swift".to_owned()),
        }
    }
}

/// Names of the objects of one backup: its prefix and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPrefix(String);

/// What an object's name says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A data object, numbered from 1.
    Data(u64),
    /// `_metadata`
    Metadata,
    /// `_sha256file`
    Sha256File,
    /// Nothing of Cinder's.
    Stray,
}

impl ObjectPrefix {
    /// The names that begin with `prefix`, which must not be empty.
    ///
    /// # Errors
    /// [`Error::InvalidBackup`]
    pub fn new(prefix: impl Into<String>) -> Result<Self, Error> {
        let prefix = prefix.into();
        match prefix.is_empty() {
            true => {
                Err(Error::InvalidBackup { reason: "its prefix is empty, which stands for all objects".to_owned() })
            }
            false => Ok(Self(prefix)),
        }
    }

    /// The prefix itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of data object `number`: five digits at least, as Python's `%05d`.
    pub fn data(&self, number: u64) -> String {
        format!("{}-{number:05}", self.0)
    }

    /// Name of the metadata.
    pub fn metadata(&self) -> String {
        format!("{}_metadata", self.0)
    }

    /// Name of the list of hashes.
    pub fn sha256file(&self) -> String {
        format!("{}_sha256file", self.0)
    }

    /// What the object of this name is. A number must be written as [`data`](Self::data) writes it, so that no two names are the same
    /// object.
    pub fn kind(&self, object_name: &str) -> ObjectKind {
        let number = |digits: &str| {
            let written = digits.len() >= 5 && digits.bytes().all(|digit| digit.is_ascii_digit());
            let number: u64 = digits.parse().ok().filter(|number| written && *number > 0)?;
            (format!("{number:05}") == digits).then_some(number)
        };
        match object_name.strip_prefix(self.0.as_str()) {
            Some("_metadata") => ObjectKind::Metadata,
            Some("_sha256file") => ObjectKind::Sha256File,
            Some(rest) => rest.strip_prefix('-').and_then(number).map_or(ObjectKind::Stray, ObjectKind::Data),
            None => ObjectKind::Stray,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        Backup { id: "22221111-x".to_owned(), volume_id: "v".to_owned(), ..Backup::default() }
    }

    #[test]
    fn names_are_those_of_cinders_drivers() {
        let name = |layout: Layout| layout.object_name_prefix(&backup(), "20261124101236", "nova");
        assert_eq!(name(Layout::Posix), "volume_v_20261124101236_backup_22221111-x");
        assert_eq!(name(Layout::Swift), "volume_v/20261124101236/az_nova_backup_22221111-x");
        let container = |layout: Layout, given| layout.container(&backup(), given).unwrap();
        assert_eq!(container(Layout::Posix, None).as_deref(), Some("22/22/22221111-x"));
        assert_eq!(container(Layout::Posix, Some("c")).as_deref(), Some("c"));
        assert_eq!(container(Layout::Swift, None), None);
        let short = Backup { id: "é1".to_owned(), ..Backup::default() };
        assert!(Layout::Posix.container(&short, None).is_err());
    }

    #[test]
    fn only_names_as_cinder_writes_them_are_objects() {
        let prefix = ObjectPrefix::new("p").unwrap();
        assert_eq!(prefix.data(7), "p-00007");
        assert_eq!(prefix.data(123_456), "p-123456");
        for number in [1, 99_999, 100_000, u64::MAX] {
            assert_eq!(prefix.kind(&prefix.data(number)), ObjectKind::Data(number));
        }
        assert_eq!(prefix.kind("p_metadata"), ObjectKind::Metadata);
        assert_eq!(prefix.kind("p_sha256file"), ObjectKind::Sha256File);
        for name in [
            "p",
            "p-",
            "p-1",
            "p-00000",
            "p-000001",
            "p-+0001",
            "p-0000a",
            "p-00001/x",
            "q-00001",
            "p_meta",
            "p-99999999999999999999",
        ] {
            assert_eq!(prefix.kind(name), ObjectKind::Stray, "{name}");
        }
        assert!(ObjectPrefix::new("").is_err());
    }
}
