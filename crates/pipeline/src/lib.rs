//! pipeline
mod engine;
mod error;
pub use engine::{CancelToken, Control, Engine, Progress, Settings};
pub use error::Error;
