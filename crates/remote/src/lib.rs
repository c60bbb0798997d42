//! Object storage over HTTP: S3, Google Cloud Storage, Azure and OpenStack Swift, and URLs that name them.
//!
//! A [`Place`] is what a user writes, `s3://bucket/prefix` or `/srv/backup`; [`open`] makes a
//! [`Backend`](cinderblock_backend::Backend) of it, whatever it is:
//!
//! ```
//! use cinderblock_remote::{Place, Settings};
//!
//! let folder = tempfile::tempdir()?;
//! let place: Place = folder.path().to_str().unwrap_or_default().parse()?;
//! let backend = cinderblock_remote::open(&place, &Settings::default())?;
//! assert_eq!(backend.requests_in_flight(), 1);
//!
//! assert!("s3://bucket/hosts/web".parse::<Place>()?.is_remote());
//! assert!("s3://key:secret@bucket".parse::<Place>().is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module or type | what it is |
//! |---|---|
//! | [`Place`], [`Container`] | where objects are, as people write it |
//! | [`open`], [`create`] | the way from a place to a backend |
//! | [`Environment`] | the variables that say how a service is reached |
//! | [`Settings`] | how many requests at once, how often and how long to try |
//! | [`Bucket`] | a backend on any `object_store` |
//! | [`swift`] | a backend on OpenStack Swift |
//! | [`Root`], [`Containers`] | all containers of a service, as one backend |
//! | [`Error`] | what keeps a place from being opened |
//!
//! Credentials are never part of a place: each ecosystem's own environment variables and files give them.

mod aws;
mod azure;
mod bucket;
mod containers;
mod environment;
mod error;
mod gcs;
mod http;
mod open;
mod place;
mod retry;
mod root;
mod runtime;
mod service;
mod settings;
pub mod swift;

pub use bucket::Bucket;
pub use containers::Containers;
pub use environment::Environment;
pub use error::Error;
pub use open::{create, open, open_in};
pub use place::{Place, PlaceError};
pub use root::Root;
pub use service::{Container, Service};
pub use settings::Settings;
