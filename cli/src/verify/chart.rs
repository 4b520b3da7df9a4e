//! Stacked bars as inline SVG: images, or bytes, by date and by state.

use vastost::catalog::audit::report::{Count, States};

use super::bins::{Bin, Bins};
use crate::output::{grouped, human_size};

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 28.0;
const BAR_MAX: f64 = 44.0;
/// One damaged image among thousands must still be seen.
const SEGMENT_MIN: f64 = 2.5;
const LABELS_MAX: usize = 9;
const TICKS_MAX: u64 = 5;

/// The states from the bottom up, with the names that the style sheet colours them by.
pub const STATES: [(&str, &str); 4] = [
    ("good", "Good"),
    ("pending", "Pending"),
    ("deleting", "Being deleted"),
    ("damaged", "Damaged"),
];

/// What the height of a bar means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Images,
    Bytes,
}

impl Measure {
    pub fn name(self) -> &'static str {
        match self {
            Self::Images => "Images",
            Self::Bytes => "Bytes",
        }
    }

    fn of(self, count: Count) -> u64 {
        match self {
            Self::Images => count.images,
            Self::Bytes => count.bytes,
        }
    }

    pub fn text(self, value: u64) -> String {
        match self {
            Self::Images => grouped(value),
            Self::Bytes => human_size(value),
        }
    }

    /// The step between grid lines: a round number, so large that a few lines reach `max`.
    fn step(self, max: u64) -> u64 {
        let (rounds, base): (&[u64], u64) = match self {
            Self::Images => (&[1, 2, 5], 10),
            Self::Bytes => (&[1, 2, 4, 8, 16, 32, 64, 128, 256, 512], 1024),
        };
        let wanted = max.div_ceil(TICKS_MAX);
        let powers = std::iter::successors(Some(1u64), |power| power.checked_mul(base));
        let mut steps = powers.flat_map(|power| rounds.iter().filter_map(move |round| power.checked_mul(*round)));
        steps.find(|step| *step >= wanted).unwrap_or(max).max(1)
    }
}

/// A state's count by the name in [`STATES`].
pub fn count(states: &States, name: &str) -> Count {
    match name {
        "good" => states.good,
        "pending" => states.pending,
        "deleting" => states.deleting,
        _ => states.damaged,
    }
}

/// The picture. Every label is ours or a date, so nothing needs escaping.
pub fn svg(bins: &Bins, measure: Measure) -> String {
    let total = |bin: &Bin| {
        STATES
            .iter()
            .map(|(name, _)| measure.of(count(&bin.states, name)))
            .fold(0, u64::saturating_add)
    };

    let max = bins.bins.iter().map(total).max().unwrap_or(0).max(1);
    let step = measure.step(max);
    let top = max.div_ceil(step).saturating_mul(step);
    let id = measure.name().to_lowercase();
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-title\">\n\
         <title id=\"{id}-title\">{} by {} and state; the table below has the figures</title>\n",
        measure.name(),
        bins.unit.name()
    );
    grid(&mut svg, measure, step, top);
    let slot = (WIDTH - LEFT - RIGHT) / fraction(bins.bins.len() as u64, 1);
    for (index, bin) in bins.bins.iter().enumerate() {
        let left = LEFT + slot * fraction(index as u64, 1);
        draw_bin(&mut svg, bin, measure, left, slot, top);
    }
    dates(&mut svg, bins, slot);
    svg.push_str("</svg>\n");
    svg
}

fn grid(svg: &mut String, measure: Measure, step: u64, top: u64) {
    let right = WIDTH - RIGHT;
    for tick in 0..=top / step {
        let value = tick.saturating_mul(step);
        let y = HEIGHT - BOTTOM - height(value, top);
        let class = if tick == 0 { "axis" } else { "grid" };
        let x = LEFT - 8.0;
        let below = y + 4.0;
        svg.push_str(&format!(
            "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{x}\" y=\"{below:.1}\" text-anchor=\"end\">{}</text>\n",
            short(&measure.text(value))
        ));
    }
}

/// `8.00 TiB` as `8 TiB`.
fn short(text: &str) -> String {
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text.to_owned(),
    }
}

fn draw_bin(svg: &mut String, bin: &Bin, measure: Measure, left: f64, slot: f64, top: u64) {
    let width = (slot - (slot * 0.25).min(3.0)).min(BAR_MAX);
    let x = left + (slot - width) / 2.0;
    let mut bottom = HEIGHT - BOTTOM;
    let mut title = bin.label.clone();

    for (name, label) in STATES {
        let value = measure.of(count(&bin.states, name));
        // An image of no bytes has no height, and none is invented for it.
        if value == 0 {
            continue;
        }
        let tall = height(value, top).max(SEGMENT_MIN);
        bottom -= tall;
        title.push_str(&format!("\n{label}: {}", measure.text(value)));
        svg.push_str(&format!(
            "<rect class=\"{name}\" x=\"{x:.2}\" y=\"{bottom:.2}\" width=\"{width:.2}\" height=\"{tall:.2}\"/>"
        ));
    }

    if bottom < HEIGHT - BOTTOM {
        let tall = HEIGHT - BOTTOM - TOP;
        svg.push_str(&format!(
            "<rect class=\"hit\" x=\"{left:.2}\" y=\"{TOP}\" width=\"{slot:.2}\" height=\"{tall}\"><title>{title}</title></rect>\n"
        ));
    }
}

fn dates(svg: &mut String, bins: &Bins, slot: f64) {
    let every = bins.bins.len().div_ceil(LABELS_MAX).max(1);
    for (index, bin) in bins.bins.iter().enumerate().step_by(every) {
        let x = LEFT + slot * (fraction(index as u64, 1) + 0.5);
        let axis = HEIGHT - BOTTOM;
        let y = HEIGHT - BOTTOM + 19.0;
        let tick = axis + 5.0;
        svg.push_str(&format!(
            "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{axis}\" y2=\"{tick}\"/>\
             <text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>\n",
            bin.label
        ));
    }
}

fn height(value: u64, top: u64) -> f64 {
    (HEIGHT - TOP - BOTTOM) * fraction(value, top)
}

/// A picture needs no exact arithmetic.
#[allow(clippy::cast_precision_loss)]
fn fraction(value: u64, of: u64) -> f64 {
    value as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::bins::Unit;
    use super::*;

    fn bins(states: Vec<States>) -> Bins {
        let bin = |states| Bin {
            label: "2026-11-22".into(),
            states,
        };
        Bins {
            unit: Unit::Day,
            bins: states.into_iter().map(bin).collect(),
        }
    }

    #[test]
    fn grid_lines_are_round_and_few() {
        assert_eq!(
            [1, 5, 6, 49, 51, 4000].map(|max| Measure::Images.step(max)),
            [1, 1, 2, 10, 20, 1000]
        );
        assert_eq!(Measure::Bytes.step(5 << 30), 1 << 30);
        assert_eq!(Measure::Bytes.step(6 << 30), 2 << 30);
        for max in [1, u64::MAX / 2, u64::MAX] {
            assert!(max / Measure::Bytes.step(max) <= TICKS_MAX && max / Measure::Images.step(max) <= TICKS_MAX);
        }
    }

    #[test]
    fn grid_lines_have_short_labels() {
        assert_eq!(
            ["8.00 TiB", "1.50 GiB", "10.0 GiB", "0 B", "1,000"].map(short),
            ["8 TiB", "1.5 GiB", "10 GiB", "0 B", "1,000"]
        );
    }

    #[test]
    fn one_damaged_image_among_thousands_is_seen() {
        let count = |images| Count { images, bytes: images };
        let states = States {
            good: count(100_000),
            damaged: count(1),
            ..States::default()
        };
        let svg = svg(&bins(vec![states]), Measure::Images);
        let damaged = svg.split("<rect class=\"damaged\"").nth(1).unwrap();
        assert!(damaged.contains("height=\"2.50\""), "{damaged}");
        assert!(svg.contains("Good: 100,000\nDamaged: 1"));
    }

    #[test]
    fn long_spans_keep_a_few_labels() {
        let svg = svg(&bins(vec![States::default(); 215]), Measure::Bytes);
        assert!((5..=LABELS_MAX).contains(&svg.matches("2026-11-22</text>").count()));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
