//! Rows: medians over the rounds, as a table to read and as JSON for programs.

use serde_json::{Value, json};

use crate::case::Case;
use crate::child::Reading;

/// The outcome of all the rounds of one case.
pub struct Row {
    case: Case,
    /// `"ns"`, or the unit of a figure that is not nanoseconds.
    unit: &'static str,
    result: Result<Summary, String>,
}

struct Summary {
    median: f64,
    min: f64,
    max: f64,
    rounds: usize,
    extra: Vec<(String, Value)>,
}

impl Row {
    /// Sums up the rounds of a case. One failed round makes the whole row an error: a runtime that crashes now and
    /// then has no median.
    pub fn new(case: Case, unit: &'static str, rounds: Vec<Result<Reading, String>>) -> Self {
        let result = rounds
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map(|readings| Summary::of(&readings));
        Row { case, unit, result }
    }

    /// One JSON object, its fields in the order in which people read them.
    pub fn json(&self) -> String {
        let mut fields: Vec<(&str, Value)> = vec![
            ("bench", json!(self.case.bench)),
            ("impl", json!(self.case.on)),
            ("workers", json!(self.case.workers)),
        ];
        let sizes = [
            ("coroutines", self.case.coroutines),
            ("connections", self.case.connections),
            ("size", self.case.size),
        ];
        fields.extend(
            sizes
                .into_iter()
                .filter_map(|(name, value)| Some((name, json!(value?)))),
        );
        match &self.result {
            Ok(summary) => {
                if self.unit == "ns" {
                    fields.push(("ns", rounded(summary.median)));
                } else {
                    fields.push(("value", rounded(summary.median)));
                    fields.push(("unit", json!(self.unit)));
                }
                fields.push(("min", rounded(summary.min)));
                fields.push(("max", rounded(summary.max)));
                fields.extend(
                    summary
                        .extra
                        .iter()
                        .map(|(name, value)| (name.as_str(), value.clone())),
                );
                fields.push(("rounds", json!(summary.rounds)));
            }
            Err(error) => fields.push(("error", json!(error))),
        }
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", fields.join(","))
    }
}

impl Summary {
    fn of(readings: &[Reading]) -> Self {
        let main: Vec<f64> = readings.iter().map(|reading| reading.main).collect();
        let last = &readings
            .last()
            .expect("a case has at least one round")
            .extra;
        let extra = last.iter().map(|(name, value)| {
            let figures: Vec<f64> = readings
                .iter()
                .filter_map(|r| r.extra.iter().find(|(other, _)| other == name)?.1.as_f64())
                .collect();
            let value = if figures.len() == readings.len() {
                rounded(median(&figures))
            } else {
                value.clone()
            };
            (name.clone(), value)
        });
        Summary {
            median: median(&main),
            min: main.iter().copied().fold(f64::INFINITY, f64::min),
            max: main.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            rounds: readings.len(),
            extra: extra.collect(),
        }
    }
}

/// Prints the rows of one bench as a table, each figure beside its ratio to filature's where the sizes are the same.
pub fn print_table(rows: &[Row]) {
    let Some(first) = rows.first() else { return };
    println!("\n{} ({})", first.case.bench, first.unit);
    println!(
        "  {:<24} {:>7} {:>10} {:>11} {:>11} {:>11} {:>11}  beside it",
        "impl", "workers", "size", "median", "min", "max", "x filature"
    );
    for row in rows {
        let size = row
            .case
            .coroutines
            .or(row.case.connections)
            .map_or(String::new(), |n| n.to_string());
        let head = format!("  {:<24} {:>7} {:>10}", row.case.on, row.case.workers, size);
        match &row.result {
            Err(error) => println!("{head} error: {error}"),
            Ok(summary) => {
                let extra: Vec<String> = summary
                    .extra
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                println!(
                    "{head} {:>11} {:>11} {:>11} {:>11}  {}",
                    rounded(summary.median).to_string(),
                    rounded(summary.min).to_string(),
                    rounded(summary.max).to_string(),
                    ratio_to_filature(rows, row, summary.median),
                    extra.join(" ")
                );
            }
        }
    }
}

fn ratio_to_filature(rows: &[Row], row: &Row, median: f64) -> String {
    let same = |other: &&Row| {
        other.case
            == Case {
                on: "filature".to_owned(),
                ..row.case.clone()
            }
    };
    match rows.iter().find(same).map(|ours| &ours.result) {
        Some(Ok(ours)) if ours.median > 0.0 => format!("{:.2}", median / ours.median),
        _ => String::new(),
    }
}

/// The middle figure, or the mean of the two in the middle.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

/// Four significant digits below a thousand, whole numbers above.
fn rounded(figure: f64) -> Value {
    if figure.fract() == 0.0 || figure.abs() >= 1000.0 {
        return json!(figure.round() as i64);
    }
    let scale = if figure.abs() >= 100.0 {
        10.0
    } else if figure.abs() >= 10.0 {
        100.0
    } else {
        1000.0
    };
    json!((figure * scale).round() / scale)
}
