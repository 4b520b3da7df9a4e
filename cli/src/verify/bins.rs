//! Days of images, grouped so that a chart can show them: by day, week, month, and so on.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::Date;
use vastost::catalog::audit::report::{Report, States};

use super::words;

/// More bars than this would be too thin to see.
pub const BINS_MAX: i64 = 220;

/// The span of one bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Day,
    Week,
    Month,
    Year,
    Decade,
    Century,
}

/// Bars without gaps, from the first day with an image to the last.
#[derive(Debug)]
pub struct Bins {
    pub unit: Unit,
    pub bins: Vec<Bin>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Bin {
    /// Its first day, as precise as the unit.
    pub label: String,
    pub states: States,
}

impl Unit {
    const ALL: [Self; 6] = [
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Year,
        Self::Decade,
        Self::Century,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
            Self::Decade => "decade",
            Self::Century => "century",
        }
    }

    fn days(self) -> i64 {
        match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => 30,
            Self::Year => 365,
            Self::Decade => 3652,
            Self::Century => 36524,
        }
    }

    /// The first day of the bin that a day lies in.
    fn start(self, day: Date) -> Date {
        let years = |of: i16| Date::new(day.year() - day.year().rem_euclid(of), 1, 1).unwrap_or(day);
        match self {
            Self::Day => day,
            Self::Week => day
                .checked_sub(i64::from(day.weekday().to_monday_zero_offset()).days())
                .unwrap_or(day),
            Self::Month => day.first_of_month(),
            Self::Year => day.first_of_year(),
            Self::Decade => years(10),
            Self::Century => years(100),
        }
    }

    /// The first day of the next bin; None at the end of the calendar.
    fn next(self, start: Date) -> Option<Date> {
        let span = match self {
            Self::Day => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
            Self::Year => 1.year(),
            Self::Decade => 10.years(),
            Self::Century => 100.years(),
        };
        start.checked_add(span).ok()
    }

    fn label(self, start: Date) -> String {
        match self {
            Self::Day | Self::Week => start.to_string(),
            Self::Month => format!("{:04}-{:02}", start.year(), start.month()),
            Self::Year | Self::Decade | Self::Century => format!("{:04}", start.year()),
        }
    }
}

impl Bins {
    /// All LSUs' days; None when there are none.
    pub fn of(report: &Report) -> Option<Self> {
        let mut days: BTreeMap<Date, States> = BTreeMap::new();
        for (day, states) in report.summary.lsus.values().flat_map(|lsu| &lsu.days) {
            if let Some(day) = parse(day) {
                words::add(days.entry(day).or_default(), states);
            }
        }
        let first = *days.first_key_value()?.0;
        let last = *days.last_key_value()?.0;
        let span = first.duration_until(last).as_hours() / 24 + 1;
        let unit = Unit::ALL
            .into_iter()
            .find(|unit| span / unit.days() <= BINS_MAX)
            .unwrap_or(Unit::Century);
        let mut sums: BTreeMap<Date, States> = BTreeMap::new();
        for (day, states) in days {
            words::add(sums.entry(unit.start(day)).or_default(), &states);
        }
        let starts = std::iter::successors(Some(unit.start(first)), |start| unit.next(*start));
        let bin = |start: Date| Bin {
            label: unit.label(start),
            states: sums.remove(&start).unwrap_or_default(),
        };
        Some(Self {
            unit,
            bins: starts.take_while(|start| *start <= last).map(bin).collect(),
        })
    }
}

/// `yyyymmdd`.
fn parse(day: &str) -> Option<Date> {
    if day.len() != 8 || !day.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| day.get(from..to).and_then(|digits| digits.parse::<i16>().ok());
    let small = |from: usize, to: usize| number(from, to).and_then(|number| i8::try_from(number).ok());
    Date::new(number(0, 4)?, small(4, 6)?, small(6, 8)?).ok()
}

#[cfg(test)]
mod tests {
    use vastost::catalog::audit::report::{Count, LsuSummary};

    use super::*;

    fn bins(days: &[&str]) -> Option<Bins> {
        let states = States {
            good: Count { images: 1, bytes: 10 },
            ..States::default()
        };
        let days = days.iter().map(|day| ((*day).to_owned(), states)).collect();
        let mut report = Report::default();
        report.summary.lsus.insert(
            "a".into(),
            LsuSummary {
                days,
                ..LsuSummary::default()
            },
        );
        Bins::of(&report)
    }

    fn shape(days: &[&str]) -> (Unit, usize, String, u64) {
        let bins = bins(days).unwrap();
        let images = bins.bins.iter().map(|bin| bin.states.good.images).sum();
        (bins.unit, bins.bins.len(), bins.bins[0].label.clone(), images)
    }

    #[test]
    fn bars_become_wider_with_the_span_and_lose_no_image() {
        assert_eq!(shape(&["20261122"]), (Unit::Day, 1, "2026-11-22".into(), 1));
        assert_eq!(
            shape(&["20261101", "20261122"]),
            (Unit::Day, 22, "2026-11-01".into(), 2)
        );
        assert_eq!(
            shape(&["20221014", "20261122"]),
            (Unit::Week, 215, "2022-10-10".into(), 2)
        );
        assert_eq!(
            shape(&["20161122", "20261122"]),
            (Unit::Month, 121, "2016-11".into(), 2)
        );
        assert_eq!(shape(&["19700101", "20261122"]), (Unit::Year, 57, "1970".into(), 2));
        assert_eq!(shape(&["19700101", "99991230"]), (Unit::Century, 81, "1900".into(), 2));
    }

    #[test]
    fn days_without_images_have_empty_bars() {
        let bins = bins(&["20261120", "20261122"]).unwrap();
        assert_eq!(
            bins.bins.iter().map(|bin| bin.states.good.images).collect::<Vec<_>>(),
            [1, 0, 1]
        );
    }

    #[test]
    fn what_is_no_day_is_left_out() {
        assert!(bins(&[]).is_none());
        assert!(bins(&["2026-1-1", "20261301", "+2026101", "é026112"]).is_none());
    }
}
