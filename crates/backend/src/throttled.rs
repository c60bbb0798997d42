//! [`Throttled`]: makes a backend as slow as one that is far away.

use std::num::NonZeroU64;
use std::thread::sleep;
use std::time::Duration;

use crate::decorator::{Around, decorate};
use crate::pace::Pace;
use crate::{Backend, Error, Kind, Request};

/// How many objects of a listing one request brings: the page of S3's `ListObjectsV2`.
const LIST_PAGE: u64 = 1000;

/// Requests that keep a storage busy which answers each after a while.
const FAR_REQUESTS: usize = 32;

/// Adds a delay to each request and bounds the bytes per second of another backend: to see how something behaves with
/// distant storage. To leave room on a line for others, there is [`Limited`](crate::Limited).
///
/// The latency is added to every operation but [`Kind::Write`], which is part of a request that was begun, and to each 1000 objects
/// of a listing. The rate is shared by all threads, reads and writes together, as on one line; the names of a
/// listing don't count.
#[derive(Debug)]
pub struct Throttled<B> {
    inner: B,
    latency: Duration,
    line: Option<Pace>,
    requests_in_flight: Option<usize>,
}

impl<B: Backend> Throttled<B> {
    /// No latency and no limit, as yet.
    pub fn new(inner: B) -> Throttled<B> {
        Throttled { inner, latency: Duration::ZERO, line: None, requests_in_flight: None }
    }

    /// Adds this much time to each request.
    pub fn latency(self, latency: Duration) -> Throttled<B> {
        Throttled { latency, ..self }
    }

    /// Bounds the rate, in bytes per second. 0 counts as 1.
    pub fn bytes_per_second(self, rate: u64) -> Throttled<B> {
        let rate = NonZeroU64::new(rate).unwrap_or(NonZeroU64::MIN);
        Throttled { line: Some(Pace::new(rate)), ..self }
    }

    /// Says that so many requests at once keep it busy. If nobody says it, 32 do where there is a latency, and as many as the other backend wants
    /// where there is none.
    pub fn wanting_in_flight(self, requests: usize) -> Throttled<B> {
        Throttled { requests_in_flight: Some(requests.max(1)), ..self }
    }

    /// The backend that does the work.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn wait_for_line(&self, bytes: u64) {
        if let Some(line) = &self.line {
            line.wait(bytes);
        }
    }
}

impl<B: Backend> Around for Throttled<B> {
    fn around<T>(
        &self,
        request: Request<'_>,
        perform: impl FnOnce() -> Result<T, Error>,
        amount: impl FnOnce(&T) -> u64,
    ) -> Result<T, Error> {
        if request.kind != Kind::Write {
            sleep(self.latency);
        }
        // An upload takes its time before it takes effect, a download after its beginning.
        let is_upload = matches!(request.kind, Kind::Write | Kind::Put);
        if is_upload {
            self.wait_for_line(request.bytes);
        }
        let value = perform()?;
        let amount = amount(&value);
        if request.kind == Kind::List {
            let further_pages = amount.saturating_sub(1) / LIST_PAGE;
            sleep(self.latency.saturating_mul(u32::try_from(further_pages).unwrap_or(u32::MAX)));
        } else if !is_upload {
            self.wait_for_line(amount);
        }
        Ok(value)
    }

    fn wanted_in_flight(&self, inner: usize) -> usize {
        match self.requests_in_flight {
            Some(requests) => requests,
            None if self.latency > Duration::ZERO => inner.max(FAR_REQUESTS),
            None => inner,
        }
    }
}

decorate!(Throttled);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{Memory, ObjectName};

    fn name(n: u32) -> ObjectName {
        ObjectName::new(format!("o{n}")).unwrap()
    }

    #[test]
    fn each_request_takes_the_latency() {
        let backend = Throttled::new(Memory::new()).latency(Duration::from_millis(20));
        let begun = Instant::now();
        backend.put(&name(1), &[b"x"]).unwrap();
        backend.get(&name(1), 1).unwrap();
        backend.size(&name(1)).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(60));
    }

    #[test]
    fn what_is_far_wants_many_requests_at_once() {
        let near = Throttled::new(Memory::new()).bytes_per_second(1000);
        assert_eq!(near.requests_in_flight(), 1);
        assert_eq!(near.wanting_in_flight(5).requests_in_flight(), 5);
        let far = Throttled::new(Memory::new()).latency(Duration::from_millis(1));
        assert_eq!((&far as &dyn Backend).requests_in_flight(), FAR_REQUESTS);
        assert_eq!(Throttled::new(far).requests_in_flight(), FAR_REQUESTS);
    }

    #[test]
    fn threads_share_the_rate() {
        let backend = Throttled::new(Memory::new()).bytes_per_second(1_000_000);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for n in 0..4 {
                let backend = &backend;
                scope.spawn(move || backend.put(&name(n), &[&[0; 25_000]]).unwrap());
            }
        });
        assert!(begun.elapsed() >= Duration::from_millis(100));
        backend.get(&name(0), 25_000).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(125));
    }
}
