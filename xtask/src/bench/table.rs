//! Rows of figures: ours, the peer's, the ratio, and whether the target is met. Printed as a table that a document can hold.

use serde_json::{Value, json};

/// What was measured on one input.
pub struct Row {
    /// The input.
    pub what: String,
    /// Ours, in the unit.
    pub ours: f64,
    /// The peer's, if there is one.
    pub peer: Option<f64>,
    /// Of both.
    pub unit: &'static str,
    /// What is to be reached.
    pub target: Target,
    /// All that was measured.
    pub raw: Value,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// The peer's figure is so many times ours.
    Times(f64),
    /// The same, and ours is below a limit.
    TimesBelow(f64, f64),
    /// Ours is at most this.
    AtMost(f64),
}

/// A row, or why there is none.
pub type Outcome = Result<Row, (String, String)>;

/// The result of a row against its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Reached.
    Met,
    /// Not reached.
    Missed,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.peer.map(|peer| peer / self.ours)
    }

    /// Whether the target is reached.
    pub fn verdict(&self) -> Verdict {
        let is_times = |wanted: f64| self.ratio().is_some_and(|ratio| ratio >= wanted);
        let is_met = match self.target {
            Target::Times(wanted) => is_times(wanted),
            Target::TimesBelow(wanted, limit) => is_times(wanted) && self.ours < limit,
            Target::AtMost(limit) => self.ours <= limit,
        };
        if is_met { Verdict::Met } else { Verdict::Missed }
    }

    fn cells(&self) -> [String; 6] {
        let figure = |number: f64| format!("{} {}", rounded(number), self.unit).trim_end().to_owned();
        let target = match self.target {
            Target::Times(wanted) => format!("≥ {wanted}×"),
            Target::TimesBelow(wanted, limit) => format!("≥ {wanted}×, < {}", figure(limit)),
            Target::AtMost(limit) => format!("≤ {limit}"),
        };
        let verdict = match self.verdict() {
            Verdict::Met => "met",
            Verdict::Missed => "missed",
        };
        [
            self.what.clone(),
            figure(self.ours),
            self.peer.map_or_else(|| "–".to_owned(), figure),
            self.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{}×", rounded(ratio))),
            target,
            verdict.to_owned(),
        ]
    }

    /// The raw figures.
    pub fn to_json(&self) -> Value {
        json!({
            "what": self.what, "ours": self.ours, "peer": self.peer, "unit": self.unit, "ratio": self.ratio(),
            "met": self.verdict() == Verdict::Met, "raw": self.raw,
        })
    }
}

/// The whole table, with the sum in its last line.
pub fn render(outcomes: &[Outcome]) -> String {
    let mut rows = vec![["Input", "ours", "peer", "ratio", "target", ""].map(str::to_owned)];
    rows.extend(outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).map(Row::cells));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let padded = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        line(cells.collect())
    };
    let mut lines: Vec<String> = rows.iter().map(padded).collect();
    lines.insert(1, line(widths.iter().map(|width| "-".repeat(*width)).collect()));
    let unmeasured = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    lines.extend(unmeasured.map(|(what, why)| format!("not measured: {what}: {why}")));
    let is = |wanted: Verdict| outcomes.iter().flatten().filter(|row| row.verdict() == wanted).count();
    let missing = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    lines.push(format!("{} met, {} missed, {missing} not measured", is(Verdict::Met), is(Verdict::Missed)));
    lines.join("\n")
}

/// Three significant digits.
fn rounded(number: f64) -> String {
    let decimals = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ours: f64, peer: Option<f64>, target: Target, expect: &str) {
        let row = Row { what: "it".to_owned(), ours, peer, unit: "ms", target, raw: Value::Null };
        assert_eq!(row.cells().join(" | "), expect);
    }

    #[test]
    fn a_row_shows_the_ratio_and_whether_it_is_enough() {
        check(0.5, Some(60.0), Target::Times(100.0), "it | 0.500 ms | 60.0 ms | 120× | ≥ 100× | met");
        check(1.0, Some(60.0), Target::Times(100.0), "it | 1.00 ms | 60.0 ms | 60.0× | ≥ 100× | missed");
        check(1.2, None, Target::AtMost(1.1), "it | 1.20 ms | – | – | ≤ 1.1 | missed");
        let both = Target::TimesBelow(100.0, 100.0);
        check(120.0, Some(16_900.0), both, "it | 120 ms | 16900 ms | 141× | ≥ 100×, < 100 ms | missed");
    }

    #[test]
    fn missing_measurements_are_listed_and_counted() {
        let row = Row {
            what: "a".to_owned(),
            ours: 1.0,
            peer: None,
            unit: "",
            target: Target::AtMost(1.1),
            raw: Value::Null,
        };
        let text = render(&[Ok(row), Err(("b".to_owned(), "no go".to_owned()))]);
        assert!(text.ends_with("not measured: b: no go\n1 met, 0 missed, 1 not measured"), "{text}");
    }
}
