//! Object storage over HTTP: S3, Google Cloud Storage, Azure and OpenStack Swift, and URLs that name them.

mod retry;
mod runtime;
mod settings;
pub mod swift;

pub use settings::Settings;
