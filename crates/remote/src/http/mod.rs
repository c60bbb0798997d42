//! What stands between `object_store` and the network: answers are bounded, errors keep their status, listings bear any key,
//! and uploads are checked by their MD5 where the service knows no better.

mod client;
mod keys;
mod refusal;
mod service;
mod stall;

pub(crate) use client::{client, client_of};
pub(crate) use keys::{original, rewrite};
pub(crate) use refusal::{Refusal, element};
pub(crate) use service::{Connector, Integrity};
