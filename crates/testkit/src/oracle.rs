//! Programs of the folder `tests/oracle`: small Go programs around Flux's own libraries, asked what Flux would do.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

/// How many cases are asked, unless [`CASES`] says another number.
const CASES_DEFAULT: usize = 2_000;
/// The environment variable with the number of cases of a differential test.
const CASES: &str = "PLUMB_DIFFERENTIAL_CASES";
/// The environment variable with the seed of a differential test.
const SEED: &str = "PLUMB_DIFFERENTIAL_SEED";
const SEED_DEFAULT: u64 = 13;

/// A program that answers one line for each line that it reads.
pub struct Oracle {
    program: PathBuf,
}

impl Oracle {
    /// Builds the program of a folder of `tests/oracle`, once for each content of it. The reason if it cannot be built here: no Go,
    /// or its modules cannot be had.
    pub fn build(name: &str) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle").join(name);
        let folder = plumb_plane::cache_folder()?.join("oracle");
        let program = folder.join(format!("{name}-{}", digest(&source)?));
        if !program.is_file() {
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            let scratch = tempfile::tempdir_in(&folder).context("no temporary folder")?;
            let built = scratch.path().join("oracle");
            let output = Command::new("go")
                .args(["build", "-mod=readonly", "-o"])
                .arg(&built)
                .arg(".")
                .current_dir(&source)
                .output()
                .context("no Go to build it with")?;
            if !output.status.success() {
                bail!("go build failed: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
            // Renamed at the end: another test that looks for it finds all of it or nothing.
            fs::rename(&built, &program).with_context(|| format!("cannot write {}", program.display()))?;
        }
        Ok(Self { program })
    }

    /// The answers to questions, in their order.
    pub fn ask<Q: Serialize, A: DeserializeOwned>(&self, questions: &[Q]) -> Result<Vec<A>> {
        let mut input = Vec::new();
        for question in questions {
            serde_json::to_writer(&mut input, question)?;
            input.push(b'\n');
        }
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let mut stdin = child.stdin.take().context("the program has an input")?;
        // Written beside the reading: pipes hold little.
        let writer = thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output()?;
        writer.join().ok().context("the writer panicked")??;
        if !output.status.success() {
            bail!("{} failed: {}", self.program.display(), output.status);
        }
        let answers: Vec<A> = output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(serde_json::from_slice)
            .collect::<Result<_, _>>()?;
        if answers.len() != questions.len() {
            bail!("{} questions and {} answers", questions.len(), answers.len());
        }
        Ok(answers)
    }
}

/// Hexadecimal digest of the files of a folder.
fn digest(folder: &Path) -> Result<String> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries.map(|entry| Ok(entry?.path())).collect::<Result<BTreeSet<_>>>()?;
    let mut hasher = Sha256::new();
    for file in files {
        hasher.update(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(data_encoding::HEXLOWER.encode(&hasher.finalize()[..8]))
}

/// How many cases a differential test asks.
///
/// # Panics
/// If the environment variable is no number.
pub fn cases() -> usize {
    env::var(CASES).map_or(CASES_DEFAULT, |text| text.parse().expect("a number of cases"))
}

/// A stream of choices that a seed determines.
pub struct Choices(u64);

impl Choices {
    /// The stream of the seed in the environment, or of the usual one.
    ///
    /// # Panics
    /// If the environment variable is no number.
    pub fn from_environment() -> Self {
        Self(env::var(SEED).map_or(SEED_DEFAULT, |text| text.parse().expect("a seed is a number")))
    }

    /// A number below a limit, which is not zero.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % limit as u64).unwrap_or(0)
    }

    /// One of several.
    pub fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}
