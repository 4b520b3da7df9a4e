//! The report as one page that needs nothing but a browser: no network, no server, also on paper.
//!
//! Figures and pictures are plain HTML and SVG. Findings are JSON inside the page, drawn a page at a time by `page.js`,
//! so that thousands stay usable. Nothing of the report reaches the page unescaped, and the page's own policy forbids
//! every request.

use std::collections::BTreeMap;

use serde_json::json;
use vastost::catalog::audit::report::{Class, Count, LsuSummary, Report};

use super::bins::Bins;
use super::chart;
use super::chart::{Measure, STATES};
use super::words;
use super::words::{Mood, all, duration, meaning, total};
use crate::output::{counted, grouped, human_size};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole document.
pub fn page(report: &Report) -> String {
    let verdict = words::verdict(report);
    let mood = match verdict.mood {
        Mood::Fine => "fine",
        Mood::Warning => "warning",
        Mood::Error => "error",
    };
    let summary = &report.summary;
    fill(PAGE, |name| match name {
        "css" => STYLE.trim_end().to_owned(),
        "js" => SCRIPT.trim_end().to_owned(),
        "title" => escape(&format!("Image audit of {}: {}", summary.server, verdict.line)),
        "where" => escape(&format!(
            "{} at {}, {}",
            summary.server, summary.endpoint, summary.finished
        )),
        "mood" => mood.to_owned(),
        "verdict" => escape(&verdict.line),
        "verdict_more" => escape(&verdict.more),
        "notes" => notes(report),
        "figures" => figures(report),
        "facts" => facts(report),
        "classes" => classes(report),
        "lsus" => lsus(report),
        "charts" => charts(report),
        "findings" => findings(report),
        "data" => data(report),
        "footer" => escape(&format!(
            "Made by {}. All times are UTC. docs/user/verify.md explains every class.",
            summary.tool
        )),
        _ => String::new(),
    })
}

/// The template with each `{{name}}` replaced, once: inserted text is not expanded again.
fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut page = String::with_capacity(template.len() * 4);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((name, following)) = after.split_once("}}") else {
            break;
        };
        page.push_str(&value(name));
        rest = following;
    }
    page.push_str(rest);
    page
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// What could not be checked or verified.
fn notes(report: &Report) -> String {
    let items: String = words::notes(report)
        .iter()
        .map(|note| format!("<li>{}</li>", escape(note)))
        .collect();
    if items.is_empty() {
        items
    } else {
        format!("<ul>{items}</ul>")
    }
}

fn figures(report: &Report) -> String {
    let total = total(report);
    let figure = |class: &str, label: &str, count: Count| {
        let images = grouped(count.images);
        let bytes = human_size(count.bytes);
        format!("<li class=\"{class}\"><b>{images}</b><span>{label}<br>{bytes}</span></li>\n")
    };
    let mut text = figure("", "images in all", all(&total));
    text.push_str(&figure("good", "good", total.good));
    text.push_str(&figure("damaged", "damaged", total.damaged));
    text.push_str(&figure("pending", "pending", total.pending));
    text.push_str(&figure("deleting", "being deleted", total.deleting));
    let read = report
        .summary
        .lsus
        .values()
        .map(|lsu| lsu.bytes_read)
        .fold(0, u64::saturating_add);
    text.push_str(&format!(
        "<li><b>{}</b><span>of images read<br>and checked</span></li>",
        human_size(read)
    ));
    text
}

fn facts(report: &Report) -> String {
    let summary = &report.summary;
    let mut facts = vec![
        ("Level", words::level(summary.level).to_owned()),
        ("Started", summary.started.clone()),
        ("Finished", summary.finished.clone()),
        ("Took", duration(summary.seconds)),
    ];
    let chosen = words::chosen(&summary.selection);
    if chosen.is_empty() {
        facts.push(("Selection", "all images".into()));
    }
    facts.extend(chosen);
    let fact = |(name, value): &(&str, String)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(value));
    facts.iter().map(fact).collect()
}

fn classes(report: &Report) -> String {
    let found = &report.summary.classes;
    if found.is_empty() {
        return String::new();
    }
    let row = |(class, number): (&Class, &u64)| {
        let name = class.name();
        let severity = words::severity(report.severity(*class));
        format!(
            "<tr><td><span class=\"tag {severity}\">{severity}</span></td>\
             <td><button type=\"button\" class=\"link\" data-class=\"{name}\">{name}</button></td>\
             <td class=\"number\">{}</td><td>{}</td></tr>\n",
            grouped(*number),
            meaning(*class)
        )
    };

    let mut ordered: Vec<_> = found.iter().collect();
    ordered.sort_by_key(|(class, _)| (report.severity(**class), **class));
    format!(
        "<section aria-labelledby=\"classes\"><h2 id=\"classes\">What was found</h2><div class=\"scroll\"><table>\
         <thead><tr><th scope=\"col\">Severity</th><th scope=\"col\">Class</th><th scope=\"col\" class=\"number\">Findings</th>\
         <th scope=\"col\">Meaning</th></tr></thead>\n<tbody>{}</tbody></table></div></section>",
        ordered.into_iter().map(row).collect::<String>()
    )
}

fn lsus(report: &Report) -> String {
    let summary = &report.summary;
    if summary.lsus.is_empty() {
        return "<p class=\"empty\">No LSU was checked.</p>".into();
    }
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    for finding in &report.findings {
        *found.entry(&finding.lsu).or_default() += 1;
    }
    let rows: String = summary
        .lsus
        .iter()
        .map(|(name, lsu)| lsu_row(name, lsu, found.get(name.as_str()).copied()))
        .collect();
    let heads = [
        "Good",
        "Damaged",
        "Pending",
        "Being deleted",
        "Findings",
        "Foreign keys",
        "List requests",
        "Read",
    ];
    let heads: String = heads
        .iter()
        .map(|head| format!("<th scope=\"col\" class=\"number\">{head}</th>"))
        .collect();

    format!(
        "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">LSU</th><th scope=\"col\">Bucket</th>{heads}</tr></thead>\n\
         <tbody>{rows}</tbody></table></div>"
    )
}

fn lsu_row(name: &str, lsu: &LsuSummary, findings: Option<u64>) -> String {
    let place = if lsu.prefix.is_empty() {
        lsu.bucket.clone()
    } else {
        format!("{}/{}", lsu.bucket, lsu.prefix)
    };
    let count = |count: Count, bad: bool| {
        let class = if bad && count.images > 0 {
            "number bad"
        } else {
            "number"
        };
        let bytes = if count.images > 0 {
            format!("<br>{}", human_size(count.bytes))
        } else {
            String::new()
        };
        format!("<td class=\"{class}\">{}{bytes}</td>", grouped(count.images))
    };

    let number = |text: String| format!("<td class=\"number\">{text}</td>");
    let states = &lsu.states;
    [
        format!("<tr><th scope=\"row\">{}</th><td>{}</td>", escape(name), escape(&place)),
        count(states.good, false),
        count(states.damaged, true),
        count(states.pending, false),
        count(states.deleting, false),
        number(grouped(findings.unwrap_or(0))),
        number(grouped(lsu.foreign_keys)),
        number(grouped(lsu.list_requests)),
        number(human_size(lsu.bytes_read)),
        "</tr>\n".into(),
    ]
    .concat()
}

fn charts(report: &Report) -> String {
    let Some(bins) = Bins::of(report) else {
        return "<p class=\"empty\">No images, so no pictures.</p>".into();
    };
    let unit = bins.unit.name();
    let legend: String = STATES
        .iter()
        .map(|(class, label)| format!("<li><i class=\"{class}\"></i>{label}</li>"))
        .collect();
    let mut text = format!("<ul class=\"legend\">{legend}</ul>\n");
    for measure in [Measure::Images, Measure::Bytes] {
        let name = measure.name();
        let picture = chart::svg(&bins, measure);
        text.push_str(&format!(
            "<h3>{name} by {unit}</h3>\n<div class=\"chart scroll\">{picture}</div>\n"
        ));
    }
    text.push_str(&figures_by_date(&bins));
    text
}

/// The charts as a table, for screen readers.
fn figures_by_date(bins: &Bins) -> String {
    let heads: String = STATES
        .iter()
        .map(|(_, label)| format!("<th scope=\"col\" class=\"number\">{label}</th>"))
        .collect();
    let row = |bin: &super::bins::Bin| {
        let cells = STATES.iter().map(|(name, _)| {
            let count = chart::count(&bin.states, name);
            let text = if count.images == 0 {
                "–".into()
            } else {
                words::counted_size(count)
            };
            format!("<td class=\"number\">{text}</td>")
        });
        format!(
            "<tr><th scope=\"row\">{}</th>{}</tr>\n",
            bin.label,
            cells.collect::<String>()
        )
    };

    let rows: String = bins
        .bins
        .iter()
        .filter(|bin| all(&bin.states).images > 0)
        .map(row)
        .collect();

    format!(
        "<details><summary>The figures as a table</summary><div class=\"scroll\"><table>\
         <thead><tr><th scope=\"col\">From</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )
}

fn findings(report: &Report) -> String {
    let findings = &report.findings;
    if findings.is_empty() {
        return "<p class=\"empty\">None.</p>".into();
    }
    let option = |value: &str, label: &str| format!("<option value=\"{}\">{}</option>", escape(value), escape(label));
    let classes = report
        .summary
        .classes
        .keys()
        .map(|class| option(class.name(), class.name()))
        .collect::<String>();
    let names = lsu_names(report);
    let lsus = names
        .iter()
        .enumerate()
        .map(|(index, name)| option(&index.to_string(), name))
        .collect::<String>();
    let columns = [
        ("severity", "Severity"),
        ("class", "Class"),
        ("lsu", "LSU"),
        ("image", "Image and object"),
        ("expected", "Expected"),
        ("found", "Found"),
        ("advice", "What to do"),
    ];
    let column = |(name, label): (&str, &str)| {
        format!(
            "<th scope=\"col\" class=\"c-{name}\" data-column=\"{name}\" data-label=\"{label}\" aria-sort=\"none\">\
             <button type=\"button\">{label}</button></th>"
        )
    };

    let columns: String = columns.into_iter().map(column).collect();
    let any = option("", "any");
    format!(
        "<noscript><p class=\"empty\">{} in all: the list needs JavaScript, which this browser does not run. \
         The JSON report has them too.</p></noscript>\n\
         <div class=\"filters\" role=\"search\" aria-label=\"Filter the findings\">\
         <label class=\"wide\">Text<input type=\"search\" id=\"f-text\" placeholder=\"words in any column\"></label>\
         <label>Class<select id=\"f-class\">{any}{classes}</select></label>\
         <label>Severity<select id=\"f-severity\">{any}{}{}</select></label>\
         <label>LSU<select id=\"f-lsu\">{any}{lsus}</select></label>\
         <button type=\"button\" class=\"plain\" id=\"clear\">Clear</button></div>\n\
         <div class=\"pages\"><span id=\"shown\" role=\"status\" aria-live=\"polite\"></span><span class=\"buttons\">\
         <label>Rows <select id=\"size\"><option>50</option><option selected>100</option><option>500</option></select></label>\
         <button type=\"button\" class=\"plain\" id=\"prev\">Previous</button><span id=\"page\"></span>\
         <button type=\"button\" class=\"plain\" id=\"next\">Next</button></span></div>\n\
         <div><table id=\"rows\"><thead><tr>{columns}</tr></thead><tbody></tbody></table></div>",
        counted(findings.len() as u64, "finding"),
        option("error", "error"),
        option("warning", "warning"),
    )
}

fn lsu_names(report: &Report) -> Vec<&str> {
    let names: std::collections::BTreeSet<&str> = report.findings.iter().map(|finding| finding.lsu.as_str()).collect();
    names.into_iter().collect()
}

/// The findings for `page.js`, which documents the fields; repeated texts are indices.
fn data(report: &Report) -> String {
    let lsus = lsu_names(report);
    let mut advice: Vec<&str> = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rows = Vec::with_capacity(report.findings.len());

    for finding in &report.findings {
        let number = *known.entry(finding.advice.as_str()).or_insert_with(|| {
            advice.push(&finding.advice);
            advice.len() - 1
        });
        let class = Class::ALL.iter().position(|known| *known == finding.class);
        let lsu = lsus.binary_search(&finding.lsu.as_str()).ok();
        rows.push(json!([
            class,
            lsu,
            finding.image,
            finding.key,
            finding.expected,
            finding.found,
            number
        ]));
    }

    let classes = Class::ALL.map(|class| [class.name(), words::severity(class.severity())]);
    let document = json!({ "classes": classes, "lsus": lsus, "advice": advice, "rows": rows });
    script_safe(&document.to_string())
}

/// JSON that no HTML parser can mistake for the end of its element; the escapes are JSON's own.
fn script_safe(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

#[cfg(test)]
#[path = "html_tests.rs"]
mod tests;
