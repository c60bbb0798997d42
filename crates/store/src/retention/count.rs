//! How many backups a rule keeps.

use std::fmt;
use std::str::FromStr;

/// How many backups, or periods with a backup, a rule keeps. Written as a number or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// At most so many. 0, the default, is as if there was no such rule.
    Number(u32),
    /// All.
    Unlimited,
}

impl Default for Count {
    fn default() -> Self {
        Count::Number(0)
    }
}

impl Count {
    pub(super) fn take_one(&mut self) {
        if let Count::Number(number) = self {
            *number = number.saturating_sub(1);
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Count::Number(number) => number.fmt(f),
            Count::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl FromStr for Count {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unlimited" {
            return Ok(Count::Unlimited);
        }
        // Digits only: not the sign that the parser of numbers takes.
        let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        number.map(Count::Number).ok_or("it has to be a number, or unlimited")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_number_or_unlimited() {
        for (text, count) in [("0", Count::Number(0)), ("7", Count::Number(7)), ("unlimited", Count::Unlimited)] {
            assert_eq!(text.parse(), Ok(count));
            assert_eq!(count.to_string(), text);
        }
        for text in ["", "-1", "+1", "1.5", "all", "4294967296", " 1"] {
            assert!(text.parse::<Count>().is_err(), "{text:?}");
        }
    }
}
