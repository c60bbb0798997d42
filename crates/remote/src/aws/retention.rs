//! What is asked and answered about objects that are kept: documents, and refusals.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cinderblock_backend::{Retention, RetentionMode};

use crate::http::{Refusal, element};
use crate::retry::Passing;

/// Why there is no answer that means success.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the request could not be signed")]
    Unsigned(#[source] object_store::Error),
    #[error("no answer came")]
    Silent(#[source] reqwest::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the answer makes no sense: {0}")]
    Senseless(&'static str),
}

impl Passing for Fault {
    fn is_passing(&self) -> bool {
        match self {
            // 409: another operation on the object is under way.
            Fault::Refused(refusal) => refusal.is_passing() && refusal.status != 501 || refusal.status == 409,
            Fault::Silent(error) => !error.is_builder(),
            Fault::Unsigned(_) | Fault::Senseless(_) => false,
        }
    }
}

impl Fault {
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Fault::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Whether the service says so with this code.
    pub(super) fn says(&self, code: &str) -> bool {
        matches!(self, Fault::Refused(refusal) if refusal.text.split(':').next() == Some(code))
    }

    /// Whether there is no such object, or its newest version is the mark of a deletion.
    pub(super) fn is_not_found(&self) -> bool {
        self.says("NoSuchKey") || self.status() == Some(405)
    }

    /// Whether the service knows of no lock: of the object, or of the whole bucket.
    pub(super) fn is_unlocked(&self) -> bool {
        self.says("ObjectLockConfigurationNotFoundError") || self.says("NoSuchObjectLockConfiguration")
    }

    /// Whether the bucket was made without Object Lock, or the service does not know what that is.
    pub(super) fn is_unsupported(&self) -> bool {
        self.is_unlocked() || self.says("InvalidRequest") || matches!(self.status(), Some(405 | 501))
    }
}

/// An answer of `GetObjectRetention`. Of an object that is not kept, some services say so without a date.
pub(super) fn until(answer: &str) -> Result<Option<SystemTime>, Fault> {
    if !is_retention(answer) {
        return Err(Fault::Senseless("it does not say how the object is kept"));
    }
    let Some(date) = element(answer, "RetainUntilDate").map(str::trim).filter(|date| !date.is_empty()) else {
        return match element(answer, "Mode") {
            Some(mode) if !mode.trim().is_empty() => {
                Err(Fault::Senseless("it says how the object is kept, and not until when"))
            }
            _ => Ok(None),
        };
    };
    parse_date(date).map(Some)
}

/// Whether an answer is one of `GetObjectRetention`. A service that does not know the request may answer with the object itself.
pub(super) fn is_retention(answer: &str) -> bool {
    let start = answer.trim_start_matches('\u{feff}').trim_start();
    let root = match start.strip_prefix("<?xml") {
        Some(declared) => declared.split_once("?>").map_or("", |(_, rest)| rest.trim_start()),
        None => start,
    };
    root.starts_with("<Retention")
}

/// A date as services write it, cut to whole seconds: the object is kept until then at least.
pub(super) fn parse_date(date: &str) -> Result<SystemTime, Fault> {
    let senseless = || Fault::Senseless("the date until which the object is kept is none");
    let date = date.parse::<jiff::Timestamp>().map_err(|_| senseless())?;
    let seconds = u64::try_from(date.as_second()).unwrap_or(0);
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or_else(senseless)
}

/// The body of `PutObjectRetention`.
pub(super) fn document(retention: Retention) -> Result<String, Fault> {
    let seconds = retention.whole_seconds().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let date = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let date = date.ok_or(Fault::Senseless("the time until which it should be kept has no date"))?;
    let mode = match retention.mode {
        RetentionMode::Governance => "GOVERNANCE",
        RetentionMode::Compliance => "COMPLIANCE",
    };
    Ok(format!(
        "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode>\
         <RetainUntilDate>{date}</RetainUntilDate></Retention>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_those_of_the_service() {
        let at = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let text = document(Retention { until: at, mode: RetentionMode::Compliance }).unwrap();
        assert_eq!(
            text,
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>COMPLIANCE</Mode>\
             <RetainUntilDate>2026-09-21T14:13:20Z</RetainUntilDate></Retention>"
        );
        assert_eq!(until(&text).unwrap(), Some(at));
        assert_eq!(until(&text.replace(":20Z", ":20.789Z")).unwrap(), Some(at));
        for none in [
            "<Retention/>",
            "<?xml version=\"1.0\"?>\n<Retention><Mode></Mode><RetainUntilDate></RetainUntilDate></Retention>",
        ] {
            assert_eq!(until(none).unwrap(), None, "{none}");
        }
        let date = "<RetainUntilDate>2026-09-21T14:13:20Z</RetainUntilDate>";
        for wrong in
            ["", date, &format!("a pack <Retention>{date}"), "<Retention><RetainUntilDate>soon</RetainUntilDate>"]
        {
            assert!(until(wrong).is_err(), "{wrong}");
        }
        assert!(until("<Retention><Mode>COMPLIANCE</Mode></Retention>").is_err());
    }
}
