//! The report for a terminal: the verdict first, then figures, then findings with advice.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::IsTerminal;

use vastost::catalog::audit::report::{Finding, LsuSummary, Report, Severity};

use super::words;
use super::words::{Mood, duration, meaning};
use crate::args::Global;
use crate::output::{counted, grouped, human_size, painted, printable};

/// The most findings that are listed; JSON and HTML have the others.
const LISTED_MAX: usize = 1_000;

type Done = Result<(), Box<dyn Error>>;

/// With `--quiet` only the findings, without advice.
pub fn print(global: &Global, report: &Report) -> Done {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // Every piece of them was made printable.
    lines(
        report,
        Style {
            colour,
            quiet: global.quiet,
        },
    )
    .iter()
    .try_for_each(|text| painted(text))
}

#[derive(Clone, Copy, Default)]
struct Style {
    colour: bool,
    quiet: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn severity(self, severity: Severity, text: &str) -> String {
        match severity {
            Severity::Error => self.paint("31", text),
            Severity::Warning => self.paint("33", text),
        }
    }
}

fn lines(report: &Report, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    if !style.quiet {
        head(report, style, &mut lines);
        lsus(report, style, &mut lines);
        classes(report, style, &mut lines);
    }
    findings(report, style, &mut lines);
    lines
}

fn head(report: &Report, style: Style, lines: &mut Vec<String>) {
    let verdict = words::verdict(report);
    let summary = &report.summary;
    let code = match verdict.mood {
        Mood::Fine => "1;32",
        Mood::Warning => "1;33",
        Mood::Error => "1;31",
    };
    lines.push(format!(
        "{}: {}",
        style.paint(code, &verdict.line),
        verdict.more.replacen("Checked", "checked", 1)
    ));
    let chosen = words::chosen(&summary.selection);
    let chosen: String = chosen
        .iter()
        .map(|(name, value)| format!(", {} {}", name.to_lowercase(), safe(value)))
        .collect();
    let server = safe(&summary.server);
    let took = duration(summary.seconds);
    lines.push(format!(
        "{server}, level {}{chosen}, {took}",
        words::level(summary.level)
    ));
    lines.extend(words::notes(report).iter().map(|note| safe(note)));
}

fn lsus(report: &Report, style: Style, lines: &mut Vec<String>) {
    let lsus = &report.summary.lsus;
    if lsus.is_empty() {
        return;
    }
    let place = |lsu: &LsuSummary| {
        let slash = if lsu.prefix.is_empty() { "" } else { "/" };
        safe(&format!("{}{slash}{}", lsu.bucket, lsu.prefix))
    };
    let longest = |texts: &mut dyn Iterator<Item = String>, head: usize| {
        texts.map(|text| text.chars().count()).max().unwrap_or(0).max(head)
    };
    let name_width = longest(&mut lsus.keys().map(|name| safe(name)), 3);
    let place_width = longest(&mut lsus.values().map(place), 6);
    lines.push(String::new());
    lines.push(format!(
        "{:<name_width$}  {:<place_width$}  {:>9}  {:>10}  {:>7}  {:>7}  {:>8}  {:>10}",
        "LSU", "BUCKET", "GOOD", "SIZE", "DAMAGED", "PENDING", "DELETING", "READ"
    ));

    for (name, lsu) in lsus {
        let states = &lsu.states;
        let damaged = format!("{:>7}", grouped(states.damaged.images));
        let damaged = if states.damaged.images > 0 {
            style.paint("31", &damaged)
        } else {
            damaged
        };
        lines.push(format!(
            "{:<name_width$}  {:<place_width$}  {:>9}  {:>10}  {damaged}  {:>7}  {:>8}  {:>10}",
            safe(name),
            place(lsu),
            grouped(states.good.images),
            human_size(states.good.bytes),
            grouped(states.pending.images),
            grouped(states.deleting.images),
            human_size(lsu.bytes_read)
        ));
    }
}

fn classes(report: &Report, style: Style, lines: &mut Vec<String>) {
    let mut classes: Vec<_> = report.summary.classes.iter().collect();
    classes.sort_by_key(|(class, _)| (report.severity(**class), **class));
    if classes.is_empty() {
        return;
    }
    lines.push(String::new());
    lines.push(format!(
        "{:<8}  {:<17}  {:>8}  MEANING",
        "SEVERITY", "CLASS", "FINDINGS"
    ));

    for (class, number) in classes {
        let worst = report.severity(*class);
        let severity = style.severity(worst, &format!("{:<8}", words::severity(worst)));
        lines.push(format!(
            "{severity}  {:<17}  {:>8}  {}",
            class.name(),
            grouped(*number),
            meaning(*class)
        ));
    }
}

/// By class, errors first; what to do is said once for all that it is the answer to. Each class has its share of the
/// lines.
fn findings(report: &Report, style: Style, lines: &mut Vec<String>) {
    let mut groups: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
    for finding in &report.findings {
        groups
            .entry((finding.severity, finding.class, finding.advice.as_str()))
            .or_default()
            .push(finding);
    }

    let share = LISTED_MAX / groups.len().max(1);
    let mut unlisted = 0;
    for ((severity, class, advice), findings) in groups {
        if !style.quiet {
            let word = style.severity(severity, words::severity(severity));
            lines.push(String::new());
            lines.push(format!("{word} {}: {}", style.paint("1", class.name()), safe(advice)));
        }
        for finding in findings.iter().take(share) {
            let lead = if style.quiet {
                format!("{} {} ", words::severity(severity), class.name())
            } else {
                "  ".into()
            };
            lines.push(lead + &one(finding));
        }
        let more = findings.len().saturating_sub(share);
        unlisted += more;
        if more > 0 && !style.quiet {
            lines.push(format!("  and {} more", grouped(more as u64)));
        }
    }

    if unlisted > 0 {
        let all = counted(unlisted as u64, "more finding");
        lines.push(format!("and {all}; --json and --html list them"));
    }
}

fn one(finding: &Finding) -> String {
    let mut text = safe(&finding.lsu);
    if let Some(image) = &finding.image {
        text.push_str(&format!("/{}", safe(image)));
    }
    if let Some(key) = &finding.key {
        text.push_str(&format!("  {}", safe(key)));
    }
    if !finding.expected.is_empty() {
        text.push_str(&format!("  expected {}", safe(&finding.expected)));
    }
    if !finding.found.is_empty() {
        text.push_str(&format!("  found {}", safe(&finding.found)));
    }
    text
}

/// No control characters.
fn safe(text: &str) -> String {
    printable(text).into_owned()
}

#[cfg(test)]
mod tests {
    use vastost::catalog::audit::report::{Class, Count, States};

    use super::*;

    fn report() -> Report {
        let finding = |class: Class, image: &str, advice: &str| Finding {
            class,
            severity: class.severity(),
            lsu: "nightly".into(),
            image: Some(image.into()),
            key: Some(format!("backups/{image}.nbk")),
            expected: "4096 bytes".into(),
            found: "12 bytes\x1b[2J".into(),
            advice: advice.into(),
        };

        let states = States {
            good: Count {
                images: 1234,
                bytes: 1 << 40,
            },
            damaged: Count { images: 2, bytes: 1 },
            ..States::default()
        };

        let findings = vec![
            finding(Class::OrphanData, "c", "remove it"),
            finding(Class::DataSize, "a", "back up again"),
            finding(Class::DataSize, "b", "back up again"),
        ];
        let mut report = Report {
            findings,
            ..Report::default()
        };
        report.summary.lsus.insert(
            "nightly".into(),
            LsuSummary {
                bucket: "nightly".into(),
                prefix: "site/".into(),
                states,
                ..LsuSummary::default()
            },
        );
        report.seal();
        report
    }

    #[test]
    fn the_verdict_comes_first_and_advice_once_for_each_class() {
        let text = lines(&report(), Style::default()).join("\n");
        assert!(
            text.starts_with(
                "2 errors, 1 warning: checked 1,236 images, 1.00 TiB in 1 LSU. 2 images cannot be trusted"
            ),
            "{text}"
        );
        assert_eq!(text.matches("back up again").count(), 1);
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
        assert!(
            at("nightly  nightly/site/      1,234    1.00 TiB        2") < at("error     data-size                 2")
        );
        assert!(at("error data-size: back up again") < at("warning orphan-data: remove it"));
        assert!(at("  nightly/a  backups/a.nbk  expected 4096 bytes  found 12 bytes") > 0);
    }

    #[test]
    fn nothing_from_the_store_can_command_the_terminal() {
        let plain = lines(&report(), Style::default()).join("\n");
        assert!(
            !plain.contains('\x1b') && plain.contains("12 bytes\u{fffd}[2J"),
            "{plain}"
        );
        let coloured = lines(
            &report(),
            Style {
                colour: true,
                quiet: false,
            },
        )
        .join("\n");
        assert!(coloured.contains("\x1b[31merror\x1b[0m"), "{coloured}");
    }

    #[test]
    fn quiet_leaves_a_line_for_each_finding() {
        let lines = lines(
            &report(),
            Style {
                colour: false,
                quiet: true,
            },
        );
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0].starts_with("error data-size nightly/a  backups/a.nbk"),
            "{}",
            lines[0]
        );
    }

    #[test]
    fn thousands_of_findings_are_summarised_and_every_class_is_seen() {
        let mut report = report();
        let many = |number| Finding {
            image: Some(format!("x{number}")),
            ..report.findings[0].clone()
        };
        let many: Vec<_> = (0..5_000).map(many).collect();
        report.findings.extend(many);
        report.seal();
        for quiet in [false, true] {
            let lines = lines(&report, Style { colour: false, quiet });
            assert!((500..1_020).contains(&lines.len()), "{}", lines.len());
            assert!(lines.last().unwrap().contains("4,5") && lines.last().unwrap().contains("--json"));
            assert!(lines.iter().any(|line| line.contains("data-size")));
        }
    }

    #[test]
    fn what_was_not_verified_and_foreign_keys_are_told_below_the_verdict() {
        let mut report = Report::default();
        report
            .summary
            .unverified
            .push("no image in LSU nightly matches the selection".into());
        let lsu = LsuSummary {
            foreign_keys: 12,
            foreign_named: vec!["catalog/x\u{202e}.json".into()],
            ..LsuSummary::default()
        };
        report.summary.lsus.insert("nightly".into(), lsu);
        let text = lines(&report, Style::default()).join("\n");
        assert!(
            text.starts_with("Nothing was verified: checked no image in 1 LSU."),
            "{text}"
        );
        assert!(
            text.contains("\nnot verified: no image in LSU nightly matches the selection\n"),
            "{text}"
        );
        assert!(
            text.contains("12 keys not at the place of any image, and not checked: catalog/x\u{fffd}.json and 11 more")
        );
    }

    #[test]
    fn a_good_report_is_short() {
        let text = lines(&Report::default(), Style::default()).join("\n");
        assert!(text.starts_with("Nothing wrong: checked no image in 0 LSUs."), "{text}");
        assert_eq!(text.lines().count(), 2);
    }
}
