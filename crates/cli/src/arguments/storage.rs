//! Where a repository or Cinder's containers are, and how fast they may be used.

use std::ffi::OsStr;
use std::num::NonZeroU64;

use cinderblock_remote::PlaceError;
use clap::Arg;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;

use crate::output::size;

/// Takes a folder, whatever bytes its path has, or a URL.
#[derive(Clone)]
pub(super) struct UrlParser<T>(pub(super) fn(&OsStr) -> Result<T, PlaceError>);

impl<T: Clone + Send + Sync + 'static> TypedValueParser for UrlParser<T> {
    type Value = T;

    /// The message of clap's own would show the value, and with it a password that somebody has put there.
    fn parse_ref(&self, command: &clap::Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        self.0(value).map_err(|error| {
            let option = argument.and_then(Arg::get_long).unwrap_or("repo");
            clap::Error::raw(ErrorKind::ValueValidation, format!("--{option}: {error}\n")).with_cmd(command)
        })
    }
}

/// Bytes per second.
pub(super) fn rate(text: &str) -> Result<NonZeroU64, String> {
    let bytes =
        size::parse(text.strip_suffix("/s").unwrap_or(text)).ok_or("write it like 500K or 20MiB, for a second")?;
    NonZeroU64::new(bytes).ok_or_else(|| "with nothing in a second, nothing would ever end".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    #[test]
    fn a_rate_is_a_size_for_a_second() {
        for (text, bytes) in [("500K", 500 << 10), ("20MiB/s", 20 << 20), ("1", 1)] {
            assert_eq!(rate(text).map(NonZeroU64::get), Ok(bytes), "{text}");
        }
        for text in ["0", "", "-1", "1MB", "fast", "1/s/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    /// What the command line refuses was shown in its message, a password in a URL too.
    #[test]
    fn a_repository_is_a_folder_or_a_url_without_a_password() {
        let parsed = |repo: &str| Arguments::try_parse_from(["cinderblock", "--repo", repo, "list"]);
        assert!(parsed("s3://bucket/prefix").unwrap().options.repo.unwrap().is_remote());
        for wrong in ["ftp://x", "s3://", "s3:bucket", ""] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        let message = parsed("s3://key:hunter2@bucket").unwrap_err().to_string();
        assert!(message.contains("--repo: ") && !message.contains("hunter2"), "{message}");
    }
}
