//! Days and months in UTC.
//!
//! Source of the arithmetic: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".

use std::fmt;
use std::str::FromStr;

pub(crate) const DAY_MS: u64 = 86_400_000;

/// A day, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(u64);

/// The last day that is written with a year of four digits, 9999-12-31.
const LAST: u64 = 2_932_896;

/// What is no day; the message says how one is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no day; write yyyy-mm-dd, from 1970-01-01 on")]
pub struct NoDay(String);

impl Day {
    /// The day of a time in milliseconds since the epoch.
    pub fn of(now_ms: u64) -> Self {
        Self((now_ms / DAY_MS).min(LAST))
    }

    /// When it begins.
    pub fn begins_ms(self) -> u64 {
        self.0 * DAY_MS
    }

    pub fn plus(self, days: u64) -> Self {
        Self(self.0.saturating_add(days).min(LAST))
    }

    pub fn minus(self, days: u64) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// Days from `earlier` to this one; 0 where it is not earlier.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Year, month and day of the month.
    fn civil(self) -> (u64, u64, u64) {
        let shifted = self.0 + 719_468;
        let era = shifted / 146_097;
        let of_era = shifted % 146_097;
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        (year_of_era + era * 400 + u64::from(month <= 2), month, day)
    }

    fn from_civil(year: u64, month: u64, day: u64) -> Self {
        let year = year - u64::from(month <= 2);
        let era = year / 400;
        let year_of_era = year % 400;
        let shifted_month = if month > 2 { month - 3 } else { month + 9 };
        let of_year = (153 * shifted_month + 2) / 5 + day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        Self((era * 146_097 + of_era).saturating_sub(719_468))
    }

    /// `yyyy-mm`.
    pub fn month(self) -> String {
        let (year, month, _) = self.civil();
        format!("{year:04}-{month:02}")
    }

    /// The first day of its month.
    pub fn first_of_month(self) -> Self {
        let (year, month, _) = self.civil();
        Self::from_civil(year, month, 1)
    }

    /// The first day of the month after.
    pub fn first_of_next_month(self) -> Self {
        let (year, month, _) = self.civil();
        match month {
            12 => Self::from_civil(year + 1, 1, 1),
            month => Self::from_civil(year, month + 1, 1),
        }
    }

    /// The number of the day in its month.
    pub fn of_month(self) -> u64 {
        self.civil().2
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(formatter, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NoDay(text.chars().take(40).collect());
        let mut parts = text.split('-').map(|part| part.parse::<u64>().ok());
        let (Some(Some(year)), Some(Some(month)), Some(Some(day)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day)
        {
            return Err(wrong());
        }
        let found = Self::from_civil(year, month, day);
        // Only as it is written: neither 2026-2-1 nor the 30th of February.
        match found.to_string() == text {
            true => Ok(found),
            false => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws::clock;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_read_as_they_are_written() {
        let check = |text: &str, known: bool| {
            let read = text.parse::<Day>().map(|day| day.to_string());
            assert_eq!(read.is_ok(), known, "{text}");
            assert!(read.is_err() || read == Ok(text.to_owned()), "{text}");
        };
        check("1970-01-01", true);
        check("2026-11-30", true);
        check("2028-02-29", true);
        check("9999-12-31", true);
        check("2027-02-29", false);
        check("2026-11-31", false);
        check("2026-1-1", false);
        check("1969-12-31", false);
        check("2026-11-30-1", false);
        check("+026-11-30", false);
        check("", false);
    }

    #[test]
    fn months_end() {
        let check = |text: &str, first: &str, next: &str| {
            let day: Day = text.parse().unwrap();
            assert_eq!(day.first_of_month().to_string(), first);
            assert_eq!(day.first_of_next_month().to_string(), next);
            assert_eq!(day.month(), first[..7]);
        };
        check("2026-11-30", "2026-11-01", "2026-12-01");
        check("2026-12-31", "2026-12-01", "2027-01-01");
        check("2028-02-29", "2028-02-01", "2028-03-01");
    }

    proptest! {
        #[test]
        fn days_are_the_clocks(now_ms in 0u64..253_402_300_800_000) {
            let day = Day::of(now_ms);
            prop_assert_eq!(&day.to_string(), &clock::rfc3339(now_ms)[..10]);
            prop_assert_eq!(day.to_string().parse::<Day>(), Ok(day));
            prop_assert!(day.begins_ms() <= now_ms && now_ms < day.begins_ms() + DAY_MS);
        }
    }
}
