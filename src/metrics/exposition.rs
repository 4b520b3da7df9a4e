//! Prometheus's text format, read back: samples, and quantiles of histograms.
//!
//! A reader of our own, since the crate for it takes commas, braces and quotes inside label values for syntax. Lines that
//! are no samples are passed over: the files are written by whatever version runs.

use std::collections::BTreeMap;

/// One value with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Sample {
    /// Empty when there is no such label.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Every sample of a text, in order.
pub fn parse(text: &str) -> Vec<Sample> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(parse_line)
        .collect()
}

fn parse_line(line: &str) -> Option<Sample> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    // A time may follow the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then(|| Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// From behind the opening brace to behind the closing one.
fn parse_labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, value) = rest.split_once("=\"")?;
        let (value, behind) = parse_value(value)?;
        labels.insert(name.trim().to_owned(), value);
        rest = behind;
    }
}

/// Up to behind the closing quote.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// A histogram's cumulative buckets, by upper bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    /// Adds the count of a bucket; the counts of equal bounds add up, so that histograms can be joined.
    pub fn add(&mut self, bound: f64, count: f64) {
        match self.0.iter_mut().find(|(have, _)| have.total_cmp(&bound).is_eq()) {
            Some((_, sum)) => *sum += count,
            None => self.0.push((bound, count)),
        }
        self.0.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    }

    /// The value below which `share` (0 to 1) of the observations lie, taken to be spread evenly within a bucket. In
    /// the last bucket, which has no upper bound, it is the bound below. None without observations.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.0.last().map(|(_, count)| *count).filter(|total| *total > 0.0)?;
        let rank = share.clamp(0.0, 1.0) * total;
        let mut below = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= rank && *count > below.1 {
                let within = (rank - below.1) / (count - below.1);
                return Some(if bound.is_finite() {
                    below.0 + (bound - below.0) * within
                } else {
                    below.0
                });
            }
            below = (*bound, *count);
        }
        Some(below.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn samples_are_read_whatever_their_labels_hold() {
        let text = "# HELP a b.\n# TYPE a counter\na{x=\"1,}{=\\\"\\\\\\n\",y=\"[::1]:80\"} 2.5\nplain 7 1795305600000\n\nno value\n";
        let samples = parse(text);
        assert_eq!(samples.len(), 2, "{samples:?}");
        assert_eq!(
            (samples[0].label("x"), samples[0].label("y"), samples[0].value),
            ("1,}{=\"\\\n", "[::1]:80", 2.5)
        );
        assert_eq!((samples[1].name.as_str(), samples[1].value), ("plain", 7.0));
        assert_eq!(parse("h_bucket{le=\"+Inf\"} +Inf")[0].value, f64::INFINITY);
    }

    #[test]
    fn quantiles_lie_within_the_bucket_that_holds_them() {
        let mut buckets = Buckets::default();
        assert_eq!(buckets.quantile(0.5), None);
        for (bound, count) in [(1.0, 10.0), (2.0, 90.0), (f64::INFINITY, 100.0)] {
            buckets.add(bound, count);
        }
        assert_eq!(buckets.quantile(0.5), Some(1.5));
        assert_eq!(buckets.quantile(0.05), Some(0.5));
        assert_eq!(buckets.quantile(0.99), Some(2.0));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*", labels in "[a-z{}=,\"\\\\ ]*") {
            parse(&text);
            parse(&format!("a{{{labels} 1"));
        }
    }
}
