//! [`Sample`]: a part of all packs for one run, so that some runs after each other read everything.

use std::fmt;
use std::str::FromStr;

use cinderblock_store::{PackId, Repository, Round, Scrub, Timestamp};

use super::report::in_full;

/// A part of all stored bytes: more than nothing, at most all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// Millionths of the whole: 1 to 1,000,000.
    millionths: u32,
}

/// The whole, in millionths.
const WHOLE: u32 = 1_000_000;

impl Share {
    fn of(self, bytes: u64) -> u64 {
        let part = u128::from(bytes) * u128::from(self.millionths);
        u64::try_from(part.div_ceil(WHOLE.into())).unwrap_or(u64::MAX)
    }
}

impl FromStr for Share {
    type Err = String;

    /// Takes percent: `10`, `0.5`, down to four places behind the point.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it has to be a number above 0 and at most 100, such as 10 or 0.5".to_owned();
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) {
            return Err(wrong());
        }
        if part.len() > 4 {
            return Err("it has to have at most four places behind the point".to_owned());
        }
        let number = |text: String| text.parse::<u32>().map_err(|_| wrong());
        let millionths = number(whole.to_owned())?.checked_mul(WHOLE / 100).ok_or_else(wrong)?;
        let millionths = millionths.checked_add(number(format!("{part:0<4}"))?).ok_or_else(wrong)?;
        if (1..=WHOLE).contains(&millionths) { Ok(Self { millionths }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.millionths) / f64::from(WHOLE / 100))
    }
}

/// Which stored bytes to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadData {
    /// None: only what describes backups is checked.
    #[default]
    No,
    /// All.
    All,
    /// So much of all packs, beginning where the last run ended, on whatever host; when all were read, it begins again. The repository
    /// remembers it.
    Share(Share),
}

/// What a run read as its share, and what all runs together have read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sampled {
    /// Packs that this run read.
    pub packs: u64,
    /// Bytes of these packs.
    pub bytes: u64,
    /// How far all runs together have come. It has the bytes of all packs, too.
    pub scrub: Scrub,
    /// Whether a round ended in this run.
    pub round_ended: bool,
    /// Why what was remembered could not be read, where that is so: the round began anew, or goes on from an older place.
    pub forgotten: Vec<String>,
    /// Why the next run does not know what this one read, where that is so: it begins where this one did.
    pub not_remembered: Option<String>,
}

/// The packs that a run reads.
#[derive(Debug)]
pub(super) struct Sample {
    /// All packs that there were, by their ids, with the bytes of each.
    packs: Vec<(PackId, u64)>,
    /// Where the sample begins; it goes on at the first one after the last.
    from: usize,
    count: usize,
    /// What was remembered.
    before: Scrub,
    /// There is no pack left that the round at hand would have to read.
    was_over: bool,
    forgotten: Vec<String>,
    started: Timestamp,
    /// Of the sample, so many from its beginning were read, and nothing wrong was found in them.
    pub right: usize,
}

impl Sample {
    pub(super) fn choose(repository: &Repository, packs: &[(PackId, u64)], share: Share) -> Self {
        let started = repository.now();
        let (before, forgotten) = match repository.scrubs() {
            Ok(found) => (found.furthest, found.unreadable.iter().map(in_full).collect()),
            Err(error) => (None, vec![in_full(&error)]),
        };
        let before = before.unwrap_or_else(|| Scrub::nothing(started));
        Self { forgotten, ..Self::after(before, packs.to_vec(), share, started) }
    }

    fn after(before: Scrub, mut packs: Vec<(PackId, u64)>, share: Share, started: Timestamp) -> Self {
        packs.sort_unstable();
        let from = packs.partition_point(|(id, _)| before.position.is_some_and(|position| *id <= position));
        let was_over = from > 0 && from == packs.len() || packs.is_empty() && before.position.is_some();
        let from = if was_over { 0 } else { from };
        let wanted = share.of(total(&packs));
        let (mut count, mut bytes) = (0, 0);
        for (_, pack_bytes) in packs.iter().cycle().skip(from).take(packs.len()) {
            if bytes >= wanted && count > 0 {
                break;
            }
            (count, bytes) = (count + 1, bytes + pack_bytes);
        }
        Self { packs, from, count, before, was_over, forgotten: Vec::new(), started, right: 0 }
    }

    /// The packs to read, in the order in which they are to be read.
    pub(super) fn packs(&self) -> impl Iterator<Item = (PackId, u64)> + '_ {
        self.packs.iter().cycle().skip(self.from).take(self.count).copied()
    }

    /// How far all runs together have come when the first so many of the sample have been read.
    fn scrub(&self, read: usize, now: Timestamp) -> Scrub {
        let mut scrub = self.before.clone();
        if self.was_over {
            end_round(&mut scrub, now);
        }
        let (to_the_end, at_the_beginning) = self.packs.split_at_checked(self.from).unwrap_or_default();
        let mut left = read;
        for part in [at_the_beginning, to_the_end] {
            let taken = left.min(part.len());
            let Some((last, _)) = taken.checked_sub(1).and_then(|last| part.get(last)) else { continue };
            if scrub.position.is_none() {
                scrub.began_at = self.started;
            }
            scrub.position = Some(*last);
            if self.packs.last().is_some_and(|(id, _)| id == last) {
                end_round(&mut scrub, now);
            }
            left -= taken;
        }
        let covered = self.packs.partition_point(|(id, _)| scrub.position.is_some_and(|position| *id <= position));
        scrub.covered_bytes = total(self.packs.get(..covered).unwrap_or_default());
        scrub.total_bytes = total(&self.packs);
        scrub.written_at = now;
        scrub
    }

    /// Remembers what was read before the run failed, as far as nothing wrong was found, which nobody would hear of. Where that can't
    /// be done, it is read again.
    pub(super) fn remember_what_was_right(&self, repository: &Repository) {
        if self.right > 0 {
            let _ = repository.put_scrub(&self.scrub(self.right, repository.now()));
        }
    }

    /// Remembers that all of it was read.
    pub(super) fn remember(self, repository: &Repository) -> Sampled {
        let scrub = self.scrub(self.count, repository.now());
        let put = if self.count == 0 { Ok(()) } else { repository.put_scrub(&scrub) };
        Sampled {
            packs: self.count as u64,
            bytes: self.packs().map(|(_, bytes)| bytes).sum(),
            round_ended: scrub.rounds > self.before.rounds,
            scrub,
            forgotten: self.forgotten,
            not_remembered: put.err().map(|error| in_full(&error)),
        }
    }
}

fn total(packs: &[(PackId, u64)]) -> u64 {
    packs.iter().map(|(_, bytes)| bytes).sum()
}

fn end_round(scrub: &mut Scrub, now: Timestamp) {
    scrub.rounds = scrub.rounds.saturating_add(1);
    scrub.last_round = Some(Round { began_at: scrub.began_at, ended_at: now });
    (scrub.began_at, scrub.position) = (now, None);
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use super::*;

    fn at(run: i64) -> Timestamp {
        Timestamp::from_microseconds(run)
    }

    fn pack(number: u64) -> PackId {
        // Spread over all ids, as random ones are.
        let [a, b, c, d, e, f, g, h] = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        PackId::from_bytes([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    fn share(text: &str) -> Share {
        text.parse().unwrap()
    }

    /// One run: what it reads, and what is remembered.
    fn run(scrub: Scrub, packs: &BTreeMap<PackId, u64>, text: &str, number: i64) -> (Vec<PackId>, Scrub) {
        let listed = packs.iter().rev().map(|(id, bytes)| (*id, *bytes)).collect();
        let sample = Sample::after(scrub, listed, share(text), at(number));
        let read: Vec<PackId> = sample.packs().map(|(id, _)| id).collect();
        assert_eq!(read.iter().collect::<HashSet<_>>().len(), read.len(), "a pack is read once in a run");
        let scrub = sample.scrub(read.len(), at(number));
        (read, scrub)
    }

    #[test]
    fn a_share_is_a_number_of_percent() {
        for (text, bytes) in [("100", 1_000_000), ("10", 100_000), ("0.5", 5000), ("0.0001", 1), ("33.25", 332_500)] {
            assert_eq!(share(text).of(1_000_000), bytes, "{text}");
        }
        assert_eq!((share("10").of(1), share("100").of(u64::MAX), share("1").of(0)), (1, u64::MAX, 0));
        assert_eq!((share("0.50").to_string(), share("10").to_string()), ("0.5 %".to_owned(), "10 %".to_owned()));
        for text in [
            "",
            "0",
            "0.0",
            "0.00001",
            "100.0001",
            "101",
            "-1",
            "+1",
            "1e1",
            "ten",
            "10%",
            ".",
            "1.",
            ".5",
            "1.2.3",
            "99999999999",
        ] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn runs_after_each_other_read_everything_from_wherever_they_begin() {
        let packs: BTreeMap<PackId, u64> = (0..97).map(|number| (pack(number), 1 + number * number % 50)).collect();
        for (text, runs) in [("10", 10), ("33.4", 3), ("100", 1), ("2.5", 40), ("0.0001", 97)] {
            let mut scrub = Scrub::nothing(at(-1));
            for begin in 0..5 {
                let mut read = HashSet::new();
                for number in 0..runs {
                    let (of_run, now) = run(scrub, &packs, text, number);
                    let bytes: u64 = of_run.iter().map(|id| packs[id]).sum();
                    assert!(bytes >= share(text).of(packs.values().sum()), "{text}");
                    read.extend(of_run);
                    scrub = now;
                }
                assert_eq!(read.len(), packs.len(), "{text} from the {begin}. beginning");
            }
        }
    }

    #[test]
    fn every_pack_that_stays_is_read_in_every_round() {
        for seed in 1..60_u64 {
            let mut random = seed;
            let mut next = |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below
            };
            let (mut packs, mut newest) = (BTreeMap::new(), 0);
            let mut since: HashMap<PackId, i64> = HashMap::new();
            let mut last_read: HashMap<PackId, i64> = HashMap::new();
            let (mut scrub, mut rounds) = (Scrub::nothing(at(0)), 0);
            for number in 1..120 {
                for _ in 0..next(6) {
                    packs.insert(pack(newest), 1 + next(100));
                    since.insert(pack(newest), number);
                    newest += 1;
                }
                for _ in 0..next(5).saturating_sub(1) {
                    let gone = packs.keys().nth(next(packs.len().max(1) as u64) as usize).copied();
                    packs.retain(|id, _| Some(*id) != gone);
                }

                let text = ["10", "25.5", "3", "100"][next(4) as usize];
                let (read, now) = run(scrub.clone(), &packs, text, number);
                last_read.extend(read.into_iter().map(|id| (id, number)));
                if now.rounds > scrub.rounds {
                    rounds += 1;
                    let round = now.last_round.unwrap();
                    assert!(round.began_at <= round.ended_at && round.ended_at == at(number));
                    for id in packs.keys().filter(|id| at(since[id]) <= round.began_at) {
                        let read = last_read.get(id).copied().unwrap_or(0);
                        assert!(
                            at(read) >= round.began_at,
                            "seed {seed}, run {number}: {id} was not read in {round:?}"
                        );
                    }
                }
                let covered = |id: &PackId| now.position.is_some_and(|position| *id <= position);
                for id in packs.keys().filter(|id| covered(id) && at(since[id]) <= now.began_at) {
                    assert!(at(last_read[id]) >= now.began_at, "seed {seed}, run {number}: {id} is said to be read");
                }
                assert!(now.covered_bytes <= now.total_bytes);
                scrub = now;
            }
            assert!(rounds > 5, "{rounds} rounds");
        }
    }

    #[test]
    fn a_round_whose_last_packs_went_has_ended() {
        let packs: BTreeMap<PackId, u64> = (0..4).map(|number| (PackId::from_bytes([number; 16]), 10)).collect();
        let beyond = Scrub { position: Some(PackId::from_bytes([9; 16])), rounds: 3, ..Scrub::nothing(at(1)) };
        let (read, scrub) = run(beyond.clone(), &packs, "25", 7);
        assert_eq!(read, [PackId::from_bytes([0; 16])]);
        assert_eq!((scrub.rounds, scrub.began_at, scrub.position), (4, at(7), Some(read[0])));
        assert_eq!(scrub.last_round, Some(Round { began_at: at(1), ended_at: at(7) }));
        assert_eq!((scrub.covered_bytes, scrub.total_bytes), (10, 40));
        // Nor does an empty repository stop it.
        let (read, scrub) = run(beyond, &BTreeMap::new(), "25", 7);
        assert_eq!((read.len(), scrub.rounds, scrub.position), (0, 4, None));
        let (read, scrub) = run(Scrub::nothing(at(7)), &BTreeMap::new(), "100", 8);
        assert_eq!((read.len(), scrub.rounds), (0, 0));
    }

    #[test]
    fn what_was_read_before_a_stop_counts() {
        let packs: Vec<(PackId, u64)> = (0..10).map(|number| (PackId::from_bytes([number; 16]), 1)).collect();
        let position = Some(PackId::from_bytes([6; 16]));
        let sample = Sample::after(Scrub { position, ..Scrub::nothing(at(1)) }, packs, share("50"), at(5));
        let places: Vec<_> = (0..=5).map(|read| sample.scrub(read, at(6))).collect();
        let place = |byte| Some(PackId::from_bytes([byte; 16]));
        assert_eq!(
            places.iter().map(|scrub| scrub.position).collect::<Vec<_>>(),
            [place(6), place(7), place(8), None, place(0), place(1)]
        );
        assert_eq!(places.iter().map(|scrub| scrub.rounds).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
        assert_eq!((places[2].began_at, places[3].began_at, places[5].began_at), (at(1), at(6), at(5)));
    }
}
