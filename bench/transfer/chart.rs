//! The SVG chart: CPU seconds per GiB as bars, one block a direction, with the spread of the runs.
//!
//! Text and lines take the reader's colour scheme; the bars' colours hold on white and on black.

use std::fmt::Write;

use super::args::Direction;
use super::report::{Report, Row};

const WIDTH: f64 = 760.0;
const LABELS: f64 = 190.0;
const FIGURES: f64 = 150.0;
const BAR: f64 = 16.0;
const STEP: f64 = 24.0;
const STYLE: &str = "text { font: 13px system-ui, sans-serif; fill: #1f2328 } .note { fill: #59636e } \
    .line { stroke: #59636e; stroke-width: 1.5 } .ours { fill: #2f81f7 } .limit { fill: #8b949e } .peer { fill: #db8b2e } \
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note { fill: #9198a1 } .line { stroke: #9198a1 } }";

pub fn svg(report: &Report) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    for (direction, title) in [(Direction::Up, "Backup"), (Direction::Down, "Restore")] {
        let rows: Vec<&Row> = report
            .rows
            .iter()
            .filter(|row| row.direction == direction.name())
            .collect();
        if !rows.is_empty() {
            y = block(&mut body, title, rows, y);
        }
    }
    let note = format!(
        "median of {} runs of {} GiB, lines from least to most",
        report.runs, report.gib
    );
    let _ = writeln!(body, "<text class=\"note\" x=\"8\" y=\"{y}\">{note}</text>");
    let height = y + 12.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"CPU seconds per GiB of S3 clients\">\n<style>{STYLE}</style>\n{body}</svg>\n"
    )
}

/// One direction from `y` on, the cheapest client first; gives where it ends.
fn block(body: &mut String, title: &str, mut rows: Vec<&Row>, mut y: f64) -> f64 {
    rows.sort_by(|a, b| a.cpu_s_per_gib.median.total_cmp(&b.cpu_s_per_gib.median));
    let most = rows
        .iter()
        .map(|row| row.cpu_s_per_gib.max)
        .fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABELS - FIGURES) / most;
    let _ = writeln!(
        body,
        "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">{title}: CPU seconds per GiB</text>"
    );
    y += 12.0;
    for row in rows {
        let spread = row.cpu_s_per_gib;
        let middle = y + BAR / 2.0;
        let base = y + BAR - 3.0;
        let from = LABELS + spread.min * scale;
        let to = LABELS + spread.max * scale;
        let name = format!("{}{}", row.client, if row.tls { " https" } else { "" });
        let end = WIDTH - FIGURES + 10.0;
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{base:.1}\" text-anchor=\"end\">{name}</text>\n\
             <rect class=\"{}\" x=\"{LABELS}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>\n\
             <line class=\"line\" x1=\"{from:.1}\" y1=\"{middle:.1}\" x2=\"{to:.1}\" y2=\"{middle:.1}\"/>\n\
             <text x=\"{end:.0}\" y=\"{base:.1}\">{:.2} <tspan class=\"note\">{:.2} GiB/s</tspan></text>",
            LABELS - 8.0,
            class(row.client),
            spread.median * scale,
            spread.median,
            row.gib_per_s.median,
        );
        y += STEP;
    }
    y + 20.0
}

fn class(client: &str) -> &'static str {
    match client {
        name if name.starts_with("vastost") => "ours",
        name if name.starts_with("limit") => "limit",
        _ => "peer",
    }
}
