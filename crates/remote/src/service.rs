//! [`Service`] and [`Container`]: what keeps objects, other than a folder.

use std::fmt;

/// A service that keeps objects in containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Service {
    /// Amazon S3 and whatever speaks its protocol: `s3://`
    S3,
    /// Google Cloud Storage: `gs://`
    Gcs,
    /// Azure Blob Storage: `az://`
    Azure,
    /// OpenStack Swift: `swift://`
    Swift,
}

impl Service {
    pub(crate) const ALL: [Service; 4] = [Service::S3, Service::Gcs, Service::Azure, Service::Swift];

    /// What stands before `://`.
    pub fn scheme(self) -> &'static str {
        match self {
            Service::S3 => "s3",
            Service::Gcs => "gs",
            Service::Azure => "az",
            Service::Swift => "swift",
        }
    }

    /// The service's own word for a container.
    pub fn container_word(self) -> &'static str {
        match self {
            Service::S3 | Service::Gcs => "bucket",
            Service::Azure | Service::Swift => "container",
        }
    }

    /// The most memory that a writer of a backend on it takes, in bytes: see
    /// [`create`](cinderblock_backend::Backend::create).
    pub fn writer_bytes(self) -> usize {
        match self {
            Service::S3 | Service::Gcs | Service::Azure => crate::bucket::WRITER_BYTES,
            Service::Swift => crate::swift::WRITE_BUFFER,
        }
    }

    /// Where its credentials come from, for people.
    pub(crate) fn credentials_advice(self) -> &'static str {
        match self {
            Service::S3 => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            Service::Gcs => "set GOOGLE_APPLICATION_CREDENTIALS",
            Service::Azure => {
                "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_SAS_TOKEN"
            }
            Service::Swift => "set OS_CLOUD, or OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME",
        }
    }
}

/// A bucket or container of a service, or what is below a prefix in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    service: Service,
    name: String,
    prefix: String,
}

impl Container {
    /// Of a name and a prefix that were checked.
    pub(crate) fn new(service: Service, name: &str, prefix: &str) -> Container {
        Container { service, name: name.to_owned(), prefix: prefix.to_owned() }
    }

    /// The service.
    pub fn service(&self) -> Service {
        self.service
    }

    /// The container's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What all keys begin with, without a slash at the end; empty for the whole container.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.service.scheme(), self.name)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}
