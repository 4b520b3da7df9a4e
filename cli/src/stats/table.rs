//! A reading as tables.

use std::error::Error;

use super::reading::{Operation, Reading};
use crate::output::{human_size, line};

/// Columns as wide as what is in them; the first `left` are aligned left, the others right.
fn print_rows(left: usize, rows: &[Vec<String>]) -> Result<(), Box<dyn Error>> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| {
        rows.iter()
            .filter_map(|row| row.get(at))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<_> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    rows.iter().try_for_each(|row| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| match at < left {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        line(cells.collect::<Vec<_>>().join("  ").trim_end())
    })
}

pub fn print(reading: &Reading) -> Result<(), Box<dyn Error>> {
    let titles = [
        "PROCESS",
        "LSU",
        "ADDRESS",
        "OPERATION",
        "REQUESTS",
        "ERRORS",
        "RETRIES",
        "BYTES",
        "RATE",
        "P50",
        "P99",
    ];
    let mut rows = vec![titles.map(ToOwned::to_owned).to_vec()];
    rows.extend(reading.operations.iter().map(operation));
    print_rows(4, &rows)?;

    if !reading.stalls.is_empty() {
        line("")?;
        let mut rows = vec![
            ["PROCESS", "LSU", "WAITED FOR", "TIMES", "SECONDS"]
                .map(ToOwned::to_owned)
                .to_vec(),
        ];
        rows.extend(reading.stalls.iter().map(|stall| {
            let process = stall.process.clone();
            let lsu = place(&stall.server, &stall.lsu);
            vec![
                process,
                lsu,
                stall.reason.clone(),
                stall.count.to_string(),
                format!("{:.3}", stall.seconds),
            ]
        }));
        print_rows(3, &rows)?;
    }

    if !reading.quarantines.is_empty() {
        line("")?;
        let mut rows = vec![
            ["PROCESS", "SERVER", "ADDRESS", "QUARANTINES"]
                .map(ToOwned::to_owned)
                .to_vec(),
        ];
        rows.extend(reading.quarantines.iter().map(|quarantine| {
            let process = quarantine.process.clone();
            let server = quarantine.server.clone();
            vec![
                process,
                server,
                quarantine.address.clone(),
                quarantine.count.to_string(),
            ]
        }));
        print_rows(3, &rows)?;
    }

    if !reading.hedges.is_empty() {
        line("")?;
        let mut rows = vec![
            ["PROCESS", "SERVER", "OPERATION", "SECOND TRIES", "WON"]
                .map(ToOwned::to_owned)
                .to_vec(),
        ];
        rows.extend(reading.hedges.iter().map(|hedges| {
            let process = &hedges.process;
            let server = &hedges.server;
            let operation = &hedges.operation;
            let names = [process, server, operation].map(Clone::clone);
            [&names[..], &[hedges.count.to_string(), hedges.won.to_string()]].concat()
        }));
        print_rows(3, &rows)?;
    }

    Ok(())
}

fn operation(operation: &Operation) -> Vec<String> {
    let key = &operation.key;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    let rate = format!("{}/s", human_size(operation.bytes_per_second as u64));
    let ms = |time: Option<f64>| time.map_or("-".into(), |ms| format!("{ms:.1} ms"));
    vec![
        key.process.clone(),
        place(&key.server, &key.lsu),
        key.address.clone(),
        key.operation.clone(),
        operation.requests.to_string(),
        operation.errors.to_string(),
        operation.retries.to_string(),
        human_size(operation.bytes()),
        rate,
        ms(operation.p50_ms),
        ms(operation.p99_ms),
    ]
}

/// `server/lsu`, or only the server for requests without an LSU.
fn place(server: &str, lsu: &str) -> String {
    if lsu.is_empty() {
        server.to_owned()
    } else {
        format!("{server}/{lsu}")
    }
}
