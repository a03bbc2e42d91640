//! The guides run: every shell command of docs/ in order, on a control plane of its own, as a person would type it. What cannot
//! run is marked in the page with its reason.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    fs,
    net::{Ipv4Addr, TcpListener},
    ops::ControlFlow,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use plumb_plane::{Plane, PlaneOptions};
use plumb_testkit::{
    controllers::{Controllers, ControllersOptions},
    gitserver::{Credentials, GitServer, GitServerOptions},
    wait::Wait,
};
use tokio::task::block_in_place;

/// How long one block may take.
const BLOCK_MAX: Duration = Duration::from_mins(3);
/// How long an output may take to be as the page shows it.
const OUTPUT_MAX: Duration = Duration::from_secs(30);
/// How long a person reads between two blocks: what a block changes has arrived at the controllers by then.
const READING: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(200);
/// Begins the mark of a block that is not run; the reason follows.
const NOT_RUN: &str = "<!-- not run: ";

/// A fenced block of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    /// The page and the line of the fence.
    place: String,
    /// What follows the fence: `sh`, `output`, `yaml`, `text`.
    language: String,
    text: String,
    /// Why it is not run.
    not_run: Option<String>,
}

/// The fenced blocks of a page, in order.
fn blocks(page: &str, markdown: &str) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    let mut before = "";
    for (at, line) in markdown.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open.as_mut()) {
            (Some(language), None) => {
                let mark = before.strip_prefix(NOT_RUN).and_then(|rest| rest.strip_suffix("-->"));
                open = Some(Block {
                    place: format!("{page}:{}", at + 1),
                    language: language.trim().to_owned(),
                    text: String::new(),
                    not_run: mark.map(|reason| reason.trim().to_owned()),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
        if !line.is_empty() {
            before = line;
        }
    }
    blocks
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Every page of docs/, by its path from there.
fn pages(folder: &Path, found: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            pages(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.strip_prefix(root())?.display().to_string();
            found.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// The pages in the order in which they are run: what notifications.md is about was installed by quickstart.md.
const RUN: [&str; 2] = ["docs/guide/quickstart.md", "docs/guide/notifications.md"];

#[test]
fn every_block_of_the_documentation_has_a_language_and_every_shell_block_is_run_or_says_why_not() -> Result<()>
{
    let mut all = BTreeMap::new();
    pages(&root().join("docs"), &mut all)?;
    for (page, markdown) in &all {
        for Block { place, language, not_run, .. } in blocks(page, markdown) {
            ensure!(
                ["sh", "output", "yaml", "toml", "text", "json", "rust"].contains(&language.as_str()),
                "{place}: the language {language:?} is not one that the test of the guides knows"
            );
            ensure!(not_run.as_deref() != Some(""), "{place}: no reason is given");
            let is_run = RUN.contains(&page.as_str()) || not_run.is_some();
            ensure!(language != "sh" || is_run, "{place}: the page is not in the list of those that are run");
        }
    }
    Ok(())
}

#[test]
fn a_block_ends_at_its_fence_and_keeps_the_reason_above_it() {
    let page = "a\n```sh\none\n```\n\n<!-- not run: needs x -->\n```sh\ntwo\n```\nb\n```output\n3\n```\n";
    let read: Vec<_> = blocks("p", page)
        .into_iter()
        .map(|block| (block.place, block.language, block.text, block.not_run))
        .collect();
    let [one, two, three] = ["p:2", "p:7", "p:11"].map(str::to_owned);
    assert_eq!(
        read,
        [
            (one, "sh".to_owned(), "one\n".to_owned(), None),
            (two, "sh".to_owned(), "two\n".to_owned(), Some("needs x".to_owned())),
            (three, "output".to_owned(), "3\n".to_owned(), None),
        ]
    );
}

/// A text without what differs from run to run: each number is `#`, each row of blanks is one.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for letter in text.trim().chars() {
        let letter = match letter {
            digit if digit.is_ascii_digit() => '#',
            blank if blank.is_whitespace() => ' ',
            other => other,
        };
        if !(matches!(letter, '#' | ' ') && shape.ends_with(letter)) {
            shape.push(letter);
        }
    }
    shape
}

/// What the environment of the test has in place of that of a person.
struct Substitutions(Vec<(&'static str, String, bool)>);

impl Substitutions {
    fn apply(&mut self, text: &str) -> String {
        self.0.iter_mut().fold(text.to_owned(), |text, (from, to, used)| {
            *used |= text.contains(*from);
            text.replace(*from, to)
        })
    }
}

/// A shell that keeps its variables from block to block. What it has left running is killed when it is dropped.
struct Shell {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
    groups: Vec<u32>,
}

impl Shell {
    fn new(plane: &Plane, token: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let words: Vec<_> =
            plane.kubectl().iter().map(|word| format!("'{}'", word.to_string_lossy())).collect();
        ensure!(!words.is_empty(), "there is no kubectl, which every guide needs");
        let kubectl = folder.path().join("kubectl");
        fs::write(&kubectl, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))?;
        ensure!(Command::new("chmod").arg("+x").arg(&kubectl).status()?.success(), "chmod failed");
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
        let kubeconfig = plane.kubeconfig(plumb_plane::ADMIN).display().to_string();
        let variables = vec![
            ("PATH", path),
            ("KUBECONFIG", kubeconfig),
            ("TOKEN", token.to_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
        ];
        Ok(Self { folder, variables, groups: Vec::new() })
    }

    /// Runs a block; its output.
    fn run(&mut self, block: &Block, text: &str) -> Result<String> {
        let file = |name: &str| self.folder.path().join(name);
        let (kept, output, errors) = (file("variables"), file("output"), file("errors"));
        let kept = kept.display();
        let script = format!(
            "set -eu\n[ ! -e '{kept}' ] || . '{kept}'\nset -a\n{text}\nset +a\nexport -p > '{kept}'\n"
        );
        let mut command = Command::new("sh");
        // Files, not pipes: what goes on in the background keeps them open.
        command.args(["-c", &script]).current_dir(root()).process_group(0);
        command.stdout(fs::File::create(&output)?).stderr(fs::File::create(&errors)?);
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        let mut child = command.spawn().context("there is no shell")?;
        self.groups.push(child.id());
        let status = wait(&mut child);
        let told = fs::read_to_string(&output)?;
        let how = match status {
            Ok(status) if status.success() => return Ok(told),
            Ok(status) => status.to_string(),
            Err(error) => format!("{error:#}"),
        };
        bail!("{}: {how}\n{text}\n{told}\n{}", block.place, fs::read_to_string(&errors)?)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for group in &self.groups {
            // Nothing may be left of it, which is an error of kill.
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL -{group} 2>/dev/null")]).status();
        }
    }
}

/// How it ended.
fn wait(child: &mut Child) -> Result<ExitStatus> {
    let wait = Wait::until("the commands have ended", BLOCK_MAX).every(POLL);
    wait.poll_blocking(|| Ok(child.try_wait()?.map_or(ControlFlow::Continue("running"), ControlFlow::Break)))
}

/// Whether a line of the page is in an output. A number alone is meant as it stands.
fn is_said(line: &str, told: &str) -> bool {
    if line.trim().parse::<u64>().is_ok() {
        told.lines().any(|said| said.trim() == line.trim())
    } else {
        shape(told).contains(&shape(line))
    }
}

#[test]
fn an_output_fits_whatever_its_times_and_never_with_another_number_alone() {
    let told = "2s   Normal  web drifted: 3 → 8 at 17:15:35Z\n9\n";
    assert!(is_said("14s Normal web drifted: 3 → 8 at 12:00:03Z", told) && is_said("9", told));
    assert!(!is_said("3", told) && !is_said("web corrected", told));
}

/// A line of the page that is not in the output.
struct Lacks<'a> {
    line: &'a str,
    told: String,
}

impl Debug for Lacks<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "without {:?}:\n{}", self.line, self.told)
    }
}

/// Runs the block again until each line of the page's output is in its output, or the time is up.
fn expect_output(
    shell: &mut Shell,
    (block, text): &(Block, String),
    mut told: String,
    expect: &Block,
) -> Result<()> {
    let wait = Wait::until(format!("the output is that of {}", expect.place), OUTPUT_MAX).every(POLL);
    let mut runs = 0;
    wait.poll_blocking(|| {
        if runs > 0 {
            told = shell.run(block, text)?;
        }
        runs += 1;
        let missing = expect.text.lines().find(|line| !is_said(line, &told));
        Ok(missing
            .map_or(ControlFlow::Break(()), |line| ControlFlow::Continue(Lacks { line, told: told.clone() })))
    })
}

/// A free port of this machine.
fn free() -> Result<String> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string())
}

/// A definition belongs to Flux: without the flag that the page names the installation ends as the page says.
fn conflict_with_flux(shell: &mut Shell, block: &Block) -> Result<()> {
    let names = r#"{"spec": {"names": {"shortNames": ["of-flux"]}}}"#;
    let patch = format!(
        "kubectl patch customresourcedefinition gitrepositories.source.toolkit.fluxcd.io --field-manager=flux --type=merge \
         -p '{names}'"
    );
    let apply =
        "if told=$(kubectl apply --server-side -k config/default 2>&1); then exit 1; fi; echo \"$told\"";
    let told = shell.run(block, &format!("{patch}\n{apply}"))?;
    ensure!(told.contains("conflict with \"flux\""), "{}: {told}", block.place);
    Ok(())
}

/// Installs Plumb, keeps a repository applied, sees drift, removes everything; then the same with controllers that the guide itself
/// starts, notifications and a webhook. The Deployments run on a node that only says so: in their place this process runs the
/// three controllers from the installation to the removal.
fn run_guides() -> Result<()> {
    let plane = Plane::start(&PlaneOptions::default())?;
    let binaries = Controllers::binaries()?;
    let credentials = Credentials { username: "git".to_owned(), password: "read-token".to_owned() };
    let git = GitServer::start(&GitServerOptions { tls: false, credentials: Some(credentials) })?;
    let repository = git.repository("apps")?;
    repository.write("deploy/web.yaml", WEB)?;
    repository.push("first")?;
    let program = |name: &str| binaries.join(name).display().to_string();
    let mut substitutions = Substitutions(vec![
        ("https://git.example.com/team/apps.git", git.url("apps"), false),
        ("https://hooks.slack.com/", "https://192.0.2.1/".to_owned(), false),
        ("127.0.0.1:9090", free()?, false),
        ("127.0.0.1:9292", free()?, false),
        ("127.0.0.1:9790", free()?, false),
        ("cargo run -p source-controller --", program("source-controller"), false),
        ("cargo run -p kustomize-controller --", program("kustomize-controller"), false),
        ("cargo run -p notification-controller --", program("notification-controller"), false),
    ]);
    let mut shell = Shell::new(&plane, "read-token")?;
    let mut controllers: Option<Controllers> = None;
    let mut skipped = Vec::new();
    let mut last: Option<(Block, String, String)> = None;
    let mut apply: Option<(Block, String)> = None;
    for page in RUN {
        for block in blocks(page, &fs::read_to_string(root().join(page))?) {
            match (block.language.as_str(), &block.not_run) {
                ("sh", Some(reason)) => skipped.push(format!("{}: {reason}", block.place)),
                ("sh", None) => {
                    let text = substitutions.apply(&block.text);
                    if text.contains("--force-conflicts") {
                        conflict_with_flux(&mut shell, &block)?;
                    }
                    let told = shell.run(&block, &text).with_context(|| {
                        controllers.as_ref().map(Controllers::last_lines).unwrap_or_default()
                    })?;
                    if text.contains("-k config/default") && text.contains("wait deployment") {
                        controllers = Some(Controllers::start(
                            &plane,
                            &binaries,
                            &ControllersOptions::whole_cluster(),
                        )?);
                    }
                    if text.contains("kind: GitRepository") && apply.is_none() {
                        apply = Some((block.clone(), text.clone()));
                    }
                    if text.contains("kubectl delete") && text.contains("-k config/default") {
                        controllers = None;
                    }
                    if text.contains(&program("kustomize-controller")) {
                        // "Then go on with step 3."
                        let (block, text) = apply.as_ref().context("there is no step 3")?;
                        shell.run(block, text)?;
                    }
                    last = Some((block, text, told));
                    thread::sleep(READING);
                }
                ("output", _) => {
                    let (ran, text, told) = last.clone().context("an output without a command")?;
                    expect_output(&mut shell, &(ran, text), told, &block)?;
                }
                _ => {}
            }
        }
    }
    let unused: Vec<_> =
        substitutions.0.iter().filter(|(_, _, used)| !used).map(|(from, ..)| *from).collect();
    ensure!(unused.is_empty(), "not in the guides any more: {unused:?}");
    eprintln!("not run:\n{}", skipped.join("\n"));
    Ok(())
}

/// What the guide assumes of the repository.
const WEB: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: prod}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: prod}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.com/web:1.0.0}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_guides_runs_as_it_stands() -> Result<()> {
    block_in_place(run_guides)
}
