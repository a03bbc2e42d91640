//! What is read from the API server, and what kubectl does to it.

use std::ffi::OsString;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use plumb_plane::{ADMIN, Plane};
use plumb_testkit::wait::Wait;
use serde_json::Value;
use tokio::runtime::Runtime;

/// How long anything is waited for.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Polling interval.
const POLL: Duration = Duration::from_millis(5);

/// The API server.
pub struct Cluster {
    client: kube::Client,
    runtime: Runtime,
    kubectl: Vec<OsString>,
    kubeconfig: PathBuf,
}

impl Cluster {
    pub fn of(plane: &Plane) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let client = runtime.block_on(plane.client())?;
        Ok(Self { client, runtime, kubectl: plane.kubectl(), kubeconfig: plane.kubeconfig(ADMIN) })
    }

    /// An object by its path; none if it is not there.
    pub fn get(&self, path: &str) -> Result<Option<Value>> {
        let request = http::Request::get(path).body(Vec::new())?;
        match self.runtime.block_on(self.client.request::<Value>(request)) {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
        }
    }

    /// An object that must be there.
    pub fn read(&self, path: &str) -> Result<Value> {
        self.get(path)?.with_context(|| format!("{path} is not there"))
    }

    /// Polls an object until it is in the expected state; returns it, and how long that took.
    pub fn wait(
        &self,
        what: &str,
        path: &str,
        holds: impl Fn(Option<&Value>) -> bool,
    ) -> Result<(Option<Value>, Duration)> {
        let began = Instant::now();
        let wait = Wait::until(format!("{what} ({path})"), TIMEOUT).every(POLL);
        let object = wait.poll_blocking(|| {
            let object = self.get(path)?;
            let state = object.as_ref().map_or_else(|| "it is not there".to_owned(), outline);
            Ok(if holds(object.as_ref()) { ControlFlow::Break(object) } else { ControlFlow::Continue(state) })
        });
        Ok((object?, began.elapsed()))
    }

    /// Runs kubectl, as a person would. Its output.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let (program, words) = self.kubectl.split_first().context("no kubectl")?;
        let mut child = Command::new(program)
            .args(words)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start kubectl")?;
        child.stdin.take().context("kubectl takes no input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The newest event about an object whose reason and message fit.
    pub fn event(&self, name: &str, reason: &str, part: &str) -> Result<String> {
        let path = format!(
            "/api/v1/namespaces/flux-system/events?fieldSelector=involvedObject.name={name},reason={reason}"
        );
        let fits = |list: &Value| -> Option<String> {
            let items = list["items"].as_array()?;
            let newest = items
                .iter()
                .filter(|event| event["message"].as_str().is_some_and(|text| text.contains(part)));
            newest.max_by_key(|event| event["lastTimestamp"].as_str().map(str::to_owned))?["message"]
                .as_str()
                .map(str::to_owned)
        };
        let (list, _) = self.wait(&format!("an event {reason} that says {part:?}"), &path, |list| {
            list.and_then(fits).is_some()
        })?;
        list.as_ref().and_then(fits).context("the event went away")
    }
}

/// A condition of an object: its status, reason and message.
pub fn condition(object: &Value, type_: &str) -> Option<(String, String, String)> {
    let all = object.pointer("/status/conditions")?.as_array()?;
    let found = all.iter().find(|condition| condition["type"] == type_)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Whether an object is Ready, as of its newest generation.
pub fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|(status, _, _)| status == "True")
        && object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

/// Details for the diagnosis of an object that is not in the expected state.
pub fn outline(object: &Value) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let seconds_text = conditions.into_iter().flatten().map(|condition| {
        let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        format!("{}={} {}: {}", text("type"), text("status"), text("reason"), text("message"))
    });
    let seconds_text: Vec<String> = seconds_text.collect();
    if seconds_text.is_empty() { "no conditions".to_owned() } else { seconds_text.join("; ") }
}
