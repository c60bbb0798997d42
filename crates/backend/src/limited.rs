//! [`Limited`]: leaves room on a line for others.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::decorator::{Around, decorate};
use crate::pace::Pace;
use crate::{Backend, Error, Kind, Request};

/// What goes over a line in each direction, at most, by all backends that share it.
#[derive(Debug)]
pub struct Line {
    upload: Option<Pace>,
    download: Option<Pace>,
}

impl Line {
    /// A line that takes so many bytes a second upwards and downwards; `None` is no limit.
    pub fn new(upload: Option<NonZeroU64>, download: Option<NonZeroU64>) -> Line {
        Line { upload: upload.map(Pace::new), download: download.map(Pace::new) }
    }
}

/// Bounds the bytes per second of another backend, uploads and downloads apart. All threads, and all backends with the same
/// [`Line`], share the limits.
///
/// A limit holds on average: each object, or part of one, is moved as fast as it can be, and the line rests for the time
/// that it should have taken; before that for an upload, after that for a download. The names of a listing don't count.
#[derive(Debug)]
pub struct Limited<B> {
    inner: B,
    line: Arc<Line>,
}

impl<B: Backend> Limited<B> {
    /// The same backend, on this line.
    pub fn new(inner: B, line: Arc<Line>) -> Limited<B> {
        Limited { inner, line }
    }
}

impl<B: Backend> Around for Limited<B> {
    fn around<T>(
        &self,
        request: Request<'_>,
        perform: impl FnOnce() -> Result<T, Error>,
        amount: impl FnOnce(&T) -> u64,
    ) -> Result<T, Error> {
        match request.kind {
            Kind::Write | Kind::Put => {
                if let Some(upload) = &self.line.upload {
                    upload.wait(request.bytes);
                }
                perform()
            }
            Kind::Get | Kind::ReadInto | Kind::GetTail => {
                let value = perform()?;
                if let Some(download) = &self.line.download {
                    download.wait(amount(&value));
                }
                Ok(value)
            }
            _ => perform(),
        }
    }
}

decorate!(Limited);

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{Memory, ObjectName};

    fn name(n: u32) -> ObjectName {
        ObjectName::new(format!("o{n}")).unwrap()
    }

    fn rate(bytes: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(bytes)
    }

    #[test]
    fn threads_and_backends_share_what_goes_up() {
        let line = Arc::new(Line::new(rate(1_000_000), None));
        let backends = [0, 1].map(|_| Limited::new(Memory::new(), Arc::clone(&line)));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for backend in &backends {
                for n in 0..2 {
                    scope.spawn(move || backend.put(&name(n), &[&[0; 25_000]]).unwrap());
                }
            }
        });
        assert!(begun.elapsed() >= Duration::from_millis(100));
    }

    /// Both directions share nothing: with a byte a day for uploads, reading goes on.
    #[test]
    fn directions_are_apart() {
        let memory = Arc::new(Memory::new());
        memory.put(&name(1), &[&[0; 50_000]]).unwrap();
        let down = Limited::new(Arc::clone(&memory), Arc::new(Line::new(rate(1), rate(1_000_000))));
        let begun = Instant::now();
        down.get(&name(1), 50_000).unwrap();
        down.read_into(&name(1), 0, &mut [0; 25_000]).unwrap();
        down.get_tail(&name(1), 25_000).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(100));
        assert_eq!(down.size(&name(1)).unwrap(), 50_000);
    }
}
