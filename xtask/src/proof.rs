//! `docs/proof.md`: which tests show each row of the scoreboard (S: security, R: reliability, I: invariants), and how they
//! ended when results were last recorded. Rows and claims are read from `tests/proof/`; no test runs here.

mod page;
pub mod results;
pub mod source;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

pub use page::page;

/// The folder of rows, claims and results.
const FOLDER: &str = "tests/proof";
const ROWS: &str = "rows.toml";
const RESULTS: &str = "results.toml";
/// The series of row ids, with the number of the last row of each.
const SERIES: [(&str, u32); 3] = [("S", 32), ("R", 34), ("I", 28)];

/// Everything that the page is made of.
#[derive(Debug, Default)]
pub struct Proof {
    rows: Vec<Row>,
    waits: Vec<Wait>,
    claims: Vec<Claim>,
    results: results::Results,
}

/// One case of the scoreboard.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `S-01`, `R-34`, `I-28`.
    id: String,
    /// What must hold, in one line.
    title: String,
}

/// A row, or a part of it, that cannot be shown before a feature exists.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    row: String,
    /// The feature that the row waits for.
    feature: String,
}

/// That a test shows a row.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    row: String,
    /// The package that holds the test.
    pub package: String,
    /// The full path of the test as `cargo test` prints it.
    pub test: String,
    /// What is shown, where the test shows a part of the row only.
    #[serde(default)]
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowsFile {
    #[serde(default)]
    row: Vec<Row>,
    #[serde(default)]
    waits: Vec<Wait>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimsFile {
    #[serde(default)]
    shows: Vec<Claim>,
}

/// Reads `tests/proof/`.
pub fn read(root: &Path) -> Result<Proof> {
    let folder = root.join(FOLDER);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {FOLDER}"))? {
        files.push(entry?.file_name().to_string_lossy().into_owned());
    }
    files.sort();
    let mut proof = Proof::default();
    for name in
        files.iter().filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "toml"))
    {
        let text =
            fs::read_to_string(folder.join(name)).with_context(|| format!("cannot read {FOLDER}/{name}"))?;
        proof.add(name, &text).with_context(|| format!("{FOLDER}/{name} is not valid"))?;
    }
    Ok(proof)
}

/// Fails with every row id that is unknown or missing, and every named test that does not exist.
pub fn check(root: &Path) -> Result<()> {
    let proof = read(root)?;
    let tests = source::Tests::read(root)?;
    let mut breaches = proof.breaches();
    for claim in &proof.claims {
        if let Some(why) = tests.missing(&claim.package, &claim.test) {
            breaches.push(format!("{}: {why}", claim.row));
        }
    }
    if breaches.is_empty() { Ok(()) } else { bail!("{FOLDER}:\n  {}", breaches.join("\n  ")) }
}

impl Proof {
    fn add(&mut self, name: &str, text: &str) -> Result<()> {
        match name {
            ROWS => {
                let RowsFile { row, waits } = toml::from_str(text)?;
                self.rows.extend(row);
                self.waits.extend(waits);
            }
            RESULTS => self.results = results::Results::parse(text)?,
            _ => self.claims.extend(toml::from_str::<ClaimsFile>(text)?.shows),
        }
        Ok(())
    }

    /// The tests that a row names, once each.
    pub fn tests(&self) -> BTreeSet<(String, String)> {
        self.claims.iter().map(|claim| (claim.package.clone(), claim.test.clone())).collect()
    }

    /// What is wrong with the ids.
    fn breaches(&self) -> Vec<String> {
        let wanted: Vec<String> = SERIES
            .iter()
            .flat_map(|(letter, last)| (1..=*last).map(move |n| format!("{letter}-{n:02}")))
            .collect();
        let listed: Vec<&str> = self.rows.iter().map(|row| row.id.as_str()).collect();
        let mut breaches = Vec::new();
        if listed != wanted {
            let missing = wanted.iter().filter(|id| !listed.contains(&id.as_str()));
            breaches.extend(missing.map(|id| format!("{ROWS} lacks {id}")));
            if breaches.is_empty() {
                breaches.push(format!("{ROWS} lists a row twice, out of order, or one that is not known"));
            }
        }
        let waits = self.waits.iter().map(|wait| &wait.row);
        let named = waits.chain(self.claims.iter().map(|claim| &claim.row));
        breaches.extend(named.filter(|id| !wanted.contains(id)).map(|id| format!("there is no row {id:?}")));
        let mut seen = BTreeSet::new();
        for claim in &self.claims {
            if !seen.insert((&claim.row, &claim.package, &claim.test)) {
                breaches.push(format!("{}: {} is named twice", claim.row, claim.test));
            }
        }
        breaches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Proof {
        let rows = SERIES.iter().flat_map(|(letter, last)| {
            (1..=*last).map(move |n| Row { id: format!("{letter}-{n:02}"), title: "t".to_owned() })
        });
        Proof { rows: rows.collect(), ..Proof::default() }
    }

    fn claim(row: &str, test: &str) -> Claim {
        Claim { row: row.to_owned(), package: "p".to_owned(), test: test.to_owned(), note: None }
    }

    #[test]
    fn a_whole_set_of_rows_with_known_claims_has_no_breach() {
        let mut proof = whole();
        proof.claims.push(claim("R-34", "a::b"));
        assert_eq!(proof.breaches(), Vec::<String>::new());
    }

    #[test]
    fn a_missing_row_an_unknown_row_and_a_claim_made_twice_are_breaches() {
        let mut proof = whole();
        proof.rows.remove(1);
        proof.claims = vec![claim("S-99", "a::b"), claim("I-01", "a::b"), claim("I-01", "a::b")];
        proof.waits.push(Wait { row: "X-01".to_owned(), feature: "f".to_owned() });
        let expect = [
            "rows.toml lacks S-02",
            "there is no row \"X-01\"",
            "there is no row \"S-99\"",
            "I-01: a::b is named twice",
        ];
        assert_eq!(proof.breaches(), expect);
    }

    #[test]
    fn files_with_unknown_fields_are_rejected() {
        let mut proof = Proof::default();
        assert!(
            proof
                .add("area.toml", "[[shows]]\nrow = \"S-01\"\npackage = \"p\"\ntest = \"t\"\nmood = 1\n")
                .is_err()
        );
        assert!(proof.add("area.toml", "[[shows]]\nrow = \"S-01\"\npackage = \"p\"\ntest = \"t\"\n").is_ok());
        assert_eq!(proof.claims, [claim("S-01", "t")].map(|claim| Claim { test: "t".to_owned(), ..claim }));
    }
}
