//! How far the reading of all stored data has come, as programs and people are told of it.

use cinderblock_store::Scrub;
use serde::Serialize;

use super::{facts, number};

/// The JSON object of it.
#[derive(Debug, Serialize)]
pub struct ScrubFacts {
    /// Rounds that have ended.
    rounds: u64,
    /// When the round at hand began; null where it has read nothing yet.
    round_began_at: Option<String>,
    /// Bytes that it has read, of all packs.
    covered_bytes: u64,
    total_bytes: u64,
    last_round_began_at: Option<String>,
    last_round_ended_at: Option<String>,
}

impl From<&Scrub> for ScrubFacts {
    fn from(scrub: &Scrub) -> Self {
        Self {
            rounds: scrub.rounds,
            round_began_at: scrub.position.map(|_| facts::microseconds(scrub.began_at)),
            covered_bytes: scrub.covered_bytes,
            total_bytes: scrub.total_bytes,
            last_round_began_at: scrub.last_round.map(|round| facts::microseconds(round.began_at)),
            last_round_ended_at: scrub.last_round.map(|round| facts::microseconds(round.ended_at)),
        }
    }
}

/// For people.
pub fn words(scrub: &Scrub) -> String {
    let last = |begin: &str| match scrub.last_round {
        Some(round) => {
            let [began, ended] = [round.began_at, round.ended_at].map(facts::time);
            format!("{begin}all were read between {began} and {ended}")
        }
        None => String::new(),
    };
    match scrub.position {
        Some(_) => {
            let covered = number::percent(scrub.covered_bytes, scrub.total_bytes);
            let since = facts::time(scrub.began_at);
            format!("this round has covered {covered} of the stored bytes since {since}{}", last("; before, "))
        }
        None => last(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cinderblock_store::{PackId, Round, Timestamp};

    #[test]
    fn a_round_is_told_with_its_share_and_its_time() {
        let [began, ended, now] = [0, 86_400_000_000, 90_000_000_000].map(Timestamp::from_microseconds);
        let mut scrub = Scrub { covered_bytes: 63, total_bytes: 100, ..Scrub::nothing(now) };
        assert_eq!(words(&scrub), "");
        scrub.position = Some(PackId::from_bytes([1; 16]));
        let round = "this round has covered 63.0 % of the stored bytes since 1970-01-02 01:00:00 UTC";
        assert_eq!(words(&scrub), round);
        scrub.last_round = Some(Round { began_at: began, ended_at: ended });
        let all = "all were read between 1970-01-01 00:00:00 UTC and 1970-01-02 00:00:00 UTC";
        assert_eq!(words(&scrub), format!("{round}; before, {all}"));
        scrub.position = None;
        assert_eq!(words(&scrub), all);
    }
}
