//! [`Settings`]: how a storage over HTTP is used.

use std::time::Duration;

/// How many requests there may be at once, and how often and how long each is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most requests that one backend has under way. At least 1; 32 if not said otherwise.
    pub requests_in_flight: usize,
    /// How often a request that failed for a passing reason is sent again, at most. 12 if not said otherwise, which with the pauses is more than a minute.
    pub retries: u32,
    /// When the first attempt was so long ago, there is no further one. 15 minutes if not said otherwise: longer than
    /// `request_timeout`, so that a request which took all of its time is sent again.
    pub retry_for: Duration,
    /// While nothing has answered yet, not even with a refusal, there are only two further attempts after so long: it is rather an address
    /// that is wrong than a server that will be back. 10 seconds if not said otherwise.
    pub first_answer: Duration,
    /// The first pause before a repetition, about; each further one is twice as long, up to 10 seconds. 200 ms if not
    /// said otherwise.
    pub first_pause: Duration,
    /// How long a connection may take to come about. 10 seconds if not said otherwise.
    pub connect_timeout: Duration,
    /// How long a request may take with all its bytes. 5 minutes if not said otherwise: with the 2 GiB of packs that
    /// are on their way at most, on a line of 7 MB/s; with the three of 31 MiB of `--memory 256MiB`, of 0.3 MB/s.
    pub request_timeout: Duration,
    /// How long an answer may stay without a further byte, and how long it may take to begin where there is nothing to
    /// upload. 1 minute if not said otherwise.
    pub read_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            requests_in_flight: 32,
            retries: 12,
            retry_for: Duration::from_secs(15 * 60),
            first_answer: Duration::from_secs(10),
            first_pause: Duration::from_millis(200),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(300),
            read_timeout: Duration::from_secs(60),
        }
    }
}
