//! One namespace with both controllers behind proxies, one repository with a folder per variant, and the snapshot
//! that runs are compared by.

use std::{collections::BTreeMap, fmt::Debug, ops::ControlFlow, time::Duration};

use anyhow::{Result, bail, ensure};
use plumb_testkit::{
    controllers::{ControllersOptions, KUSTOMIZE, SOURCE},
    proxy::{Outcome, Proxy, Record, RuleId},
    repository::Repository,
    sink::{Received, Sink},
    wait::Wait,
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::e2e::{
    environment::Environment,
    sample::config_map,
    seen::{inventory, is_ready, message, text, uid},
};

/// How long a run may take to converge after its fault is over. Longer than the timeout of one apply (65 s).
pub const CONVERGED_MAX: Duration = Duration::from_secs(100);
/// How long nothing may be written for a run to count as over.
const QUIET: Duration = Duration::from_millis(300);
/// How long a write is held up before it is forwarded, at most. One that waits longer is never forwarded.
const HELD_MAX: Duration = Duration::from_secs(6);
/// How long the last status may take after that: an object whose write got no response is not pruned until that write can
/// no longer arrive (39 s).
const FOLLOWS_MAX: Duration = Duration::from_mins(1);
/// The label of the owner.
const OWNER: &str = "kustomize.toolkit.fluxcd.io/name";
/// What is looked for. All of these are in the variants.
const KINDS: [&str; 2] = ["ConfigMap", "Service"];

/// The folders of the repository: what the Kustomization applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Three ConfigMaps and a Service.
    Base,
    /// One ConfigMap and the Service are different, one ConfigMap is new.
    Update,
    /// One ConfigMap and the Service are absent.
    Prune,
    /// What `Prune` lacks of `Base`: another Kustomization takes it over.
    Moved,
}

impl Variant {
    fn folder(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Update => "update",
            Self::Prune => "prune",
            Self::Moved => "moved",
        }
    }

    /// The path of the spec.
    pub fn path(self) -> String {
        format!("./{}", self.folder())
    }

    fn maps(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Base => &[("alpha", "one"), ("beta", "one"), ("gamma", "one")],
            Self::Update => &[("alpha", "two"), ("beta", "one"), ("delta", "one"), ("gamma", "one")],
            Self::Prune => &[("alpha", "one"), ("beta", "one")],
            Self::Moved => &[("gamma", "one")],
        }
    }

    fn service(self) -> Option<&'static str> {
        match self {
            Self::Base | Self::Moved => Some("one"),
            Self::Update => Some("two"),
            Self::Prune => None,
        }
    }
}

/// The state of a Kustomization's objects according to Ready=True.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    /// They are as applied.
    Holds,
    /// They were, and a write of before may have come after.
    MayBeOvertaken,
}

/// The environment of a run.
pub struct Fixture {
    /// The namespace, the Git server, the controllers.
    pub environment: Environment,
    /// In front of source-controller.
    pub source: Proxy,
    /// In front of kustomize-controller.
    pub kustomize: Proxy,
    /// The repository behind the GitRepository `app`.
    pub repository: Repository,
}

/// The state that runs are compared by.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The managed objects: data, labels, annotations, field managers.
    pub objects: BTreeMap<String, Value>,
    /// The Kustomizations that are there: inventory, conditions, finalizers.
    pub statuses: BTreeMap<String, Value>,
}

impl Fixture {
    /// Starts all of it; the source is fetched. `flags` go to kustomize-controller.
    pub async fn new(test: &str, flags: &[&str]) -> Result<Self> {
        let plane = block_in_place(plumb_testkit::plane);
        let (source, kustomize) = (Proxy::to_plane(plane, SOURCE)?, Proxy::to_plane(plane, KUSTOMIZE)?);
        let kubeconfigs = BTreeMap::from([
            (SOURCE, source.kubeconfig().to_owned()),
            (KUSTOMIZE, kustomize.kubeconfig().to_owned()),
        ]);
        let flags = BTreeMap::from([(KUSTOMIZE, flags.iter().map(ToString::to_string).collect())]);
        let options =
            |events| ControllersOptions { kubeconfigs, flags, ..ControllersOptions::with_sink(events) };
        let environment = Environment::started(test, Sink::start()?, options).await?;
        let repository = environment.git.repository("app")?;
        for variant in [Variant::Base, Variant::Update, Variant::Prune, Variant::Moved] {
            write(&repository, variant)?;
        }
        repository.push("first")?;
        environment.create(environment.source("app")).await?;
        environment.until("GitRepository", "app", "is ready", is_ready).await?;
        Ok(Self { environment, source, kustomize, repository })
    }

    /// Creates the Kustomization `app`.
    pub async fn create(&self, variant: Variant) -> Result<()> {
        self.create_with("app", variant, false).await
    }

    /// Creates a Kustomization with this name.
    pub async fn create_with(&self, name: &str, variant: Variant, suspend: bool) -> Result<()> {
        let fields = json!({
            "path": variant.path(), "retryInterval": "1s", "timeout": "30s", "wait": true, "suspend": suspend,
            "driftDetection": {"mode": "enabled"},
        });
        self.environment.create(self.environment.kustomization(name, &fields)).await.map(drop)
    }

    /// Makes the Kustomization apply another folder.
    pub async fn switch(&self, variant: Variant) -> Result<()> {
        self.environment
            .edit("Kustomization", "app", &json!({"spec": {"path": variant.path()}}))
            .await
            .map(drop)
    }

    /// Waits until `app` has applied this variant and nothing is written any more.
    pub async fn converged(&self, variant: Variant) -> Result<Snapshot> {
        self.all_converged(&[("app", variant)]).await
    }

    /// The same where a write of an aborted attempt may arrive last, and is corrected then.
    pub async fn converged_at_last(&self, variant: Variant) -> Result<Snapshot> {
        self.settled(&[("app", variant)], Ready::MayBeOvertaken).await
    }

    /// Waits until each of these Kustomizations has applied its variant and nothing is written any more.
    pub async fn all_converged(&self, wanted: &[(&str, Variant)]) -> Result<Snapshot> {
        self.settled(wanted, Ready::Holds).await
    }

    async fn settled(&self, wanted: &[(&str, Variant)], claim: Ready) -> Result<Snapshot> {
        let mut ready = false;
        self.wait("the namespace has converged", CONVERGED_MAX, async || {
            let was_ready = ready;
            ready = true;
            for (name, variant) in wanted {
                ready &= self.has_applied(name, *variant).await?;
            }
            if ready && !was_ready && claim == Ready::Holds {
                self.check_holds(wanted).await?;
            }
            let state = if ready { "written all the time" } else { "not applied" };
            let converged = ready && self.is_quiet();
            Ok(if converged { ControlFlow::Break(()) } else { ControlFlow::Continue(state) })
        })
        .await?;
        self.snapshot().await
    }

    /// Waits until a rule in front of kustomize-controller applies to a request.
    pub async fn hit(&self, rule: RuleId, what: &str) -> Result<()> {
        let hit = async || {
            let hit = self.kustomize.hits(rule) > 0;
            Ok(if hit { ControlFlow::Break(()) } else { ControlFlow::Continue("no request") })
        };
        self.wait(what, CONVERGED_MAX, hit).await
    }

    /// Waits; an error shows the evidence.
    async fn wait<T, S: Debug>(
        &self,
        what: &str,
        limit: Duration,
        probe: impl AsyncFnMut() -> Result<ControlFlow<T, S>>,
    ) -> Result<T> {
        match Wait::until(what, limit).poll(probe).await {
            Ok(found) => Ok(found),
            Err(error) => bail!("{error:#}\n{}", self.evidence().await),
        }
    }

    /// Fails if an object differs from a variant whose Kustomization reports it as applied. A later correction
    /// does not excuse a wrong report. `beta` is left out: tests edit it.
    async fn check_holds(&self, wanted: &[(&str, Variant)]) -> Result<()> {
        for (owner, variant) in wanted {
            for (name, value) in variant.maps().iter().filter(|(name, _)| *name != "beta") {
                let found = self.environment.find("ConfigMap", name).await?;
                let holds = found.as_ref().is_some_and(|found| found["data"]["greeting"] == *value);
                ensure!(holds, "{owner} is Ready, but {name} is {found:#?}: {}", self.evidence().await);
            }
            let Some(value) = variant.service() else { continue };
            let found = self.environment.find("Service", "front").await?;
            let annotation = |found: &Value| found["metadata"]["annotations"]["example.com/value"] == value;
            let holds = found.as_ref().is_some_and(annotation);
            ensure!(holds, "{owner} is Ready, but front is {found:#?}: {}", self.evidence().await);
        }
        Ok(())
    }

    async fn has_applied(&self, name: &str, variant: Variant) -> Result<bool> {
        let revision = self.repository.revision()?;
        let found = self.environment.find("Kustomization", name).await?;
        Ok(found.is_some_and(|object| {
            is_ready(&object)
                && object["spec"]["path"] == variant.path()
                && object["status"]["lastAppliedRevision"] == revision
        }))
    }

    /// How many attempts at the Kustomization failed, as far as its history goes back.
    pub async fn failures(&self) -> Result<u64> {
        let found = self.environment.find("Kustomization", "app").await?;
        let history = found.as_ref().and_then(|found| found["status"]["history"].as_array());
        let failed = |entry: &&Value| entry["lastReconciledStatus"] != "ReconciliationSucceeded";
        let entries = history.into_iter().flatten().filter(failed);
        Ok(entries.filter_map(|entry| entry["totalReconciliations"].as_u64()).sum())
    }

    /// Waits until an edited ConfigMap is as in the repository again.
    pub async fn corrected(&self, name: &str) -> Result<()> {
        self.wait(&format!("{name} is corrected"), CONVERGED_MAX, async || {
            let found = self.environment.get("ConfigMap", name).await?;
            let corrected = found["data"]["greeting"] == "one";
            Ok(if corrected { ControlFlow::Break(()) } else { ControlFlow::Continue(found) })
        })
        .await
    }

    /// Waits until the Kustomization and everything that it managed is deleted.
    pub async fn removed(&self) -> Result<Snapshot> {
        self.wait("the Kustomization is removed", CONVERGED_MAX, async || {
            let found = self.environment.find("Kustomization", "app").await?;
            Ok(found.map_or(ControlFlow::Break(()), ControlFlow::Continue))
        })
        .await?;
        let snapshot = self.snapshot().await?;
        ensure!(snapshot.objects.is_empty(), "orphans: {snapshot:#?}");
        Ok(snapshot)
    }

    /// Fails unless the state becomes this one. A status that is debounced may follow a moment after the rest.
    pub async fn check_ends_as(&self, ended: Snapshot, expected: &Snapshot) -> Result<()> {
        let mut ended = Some(ended);
        self.wait("the end is as expected", FOLLOWS_MAX, async || {
            let ended = match ended.take() {
                Some(ended) => ended,
                None => self.snapshot().await?,
            };
            let same = ended == *expected;
            let lines = || difference(&ended, expected).lines().map(str::to_owned).collect::<Vec<_>>();
            Ok(if same { ControlFlow::Break(()) } else { ControlFlow::Continue(lines()) })
        })
        .await
    }

    /// The state now.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let objects = self.objects().await?;
        let objects = objects.into_iter().map(|(name, object)| (name, normalized(&object))).collect();
        let found = self.environment.list("Kustomization").await?;
        let named = |object: &Value| (text(object, "/metadata/name").to_owned(), status(object));
        Ok(Snapshot { objects, statuses: found.iter().map(named).collect() })
    }

    /// The managed objects by kind and name.
    pub async fn objects(&self) -> Result<BTreeMap<String, Value>> {
        let mut found = BTreeMap::new();
        for kind in KINDS {
            for object in self.environment.list(kind).await? {
                if object["metadata"]["labels"][OWNER].is_string() {
                    found.insert(format!("{kind}/{}", text(&object, "/metadata/name")), object);
                }
            }
        }
        Ok(found)
    }

    /// The identity of each managed object.
    pub async fn uids(&self) -> Result<BTreeMap<String, String>> {
        let objects = self.objects().await?;
        Ok(objects.iter().map(|(name, object)| (name.clone(), uid(object).to_owned())).collect())
    }

    /// Fails if a reconciliation of the converged state writes an object, or if one of `known` was recreated.
    pub async fn check_stable(&self, known: &BTreeMap<String, String>) -> Result<()> {
        let before = self.objects().await?;
        for (name, object) in &before {
            if let Some(known) = known.get(name).filter(|known| *known != uid(object)) {
                bail!("{name} was recreated: {known} is now {}", uid(object));
            }
        }
        let requested = self.kustomize.now();
        let token = self.environment.request("Kustomization", "app").await?;
        let handled = |seen: &Value| is_ready(seen) && seen["status"]["lastHandledReconcileAt"] == *token;
        self.environment.until("Kustomization", "app", "has handled the request", handled).await?;
        let written = self.object_writes(requested);
        ensure!(written.is_empty(), "a reconciliation without a change wrote objects:\n{}", shown(&written));
        let after = self.objects().await?;
        ensure!(before == after, "a reconciliation without a change modified {before:#?} into {after:#?}");
        Ok(())
    }

    /// How many corrections of drift were reported on the wire.
    pub fn corrections(&self) -> usize {
        let of_drift = |one: &&Received| one.text("/reason") == "DriftCorrected";
        self.environment.sink.received().iter().filter(of_drift).count()
    }

    /// What kustomize-controller wrote since then, its own statuses and finalizers aside. A write that changes nothing
    /// counts too, unless an earlier one of the same object got no response: that one may still be carried out.
    pub fn object_writes(&self, since: Duration) -> Vec<Record> {
        let writes = self.kustomize.writes();
        let unanswered = |path: &str| {
            writes.iter().any(|one| one.path == path && one.at < since && !one.outcome.reached_the_client())
        };
        let is_own = |record: &Record| record.path.contains("/kustomizations/");
        let counts = |one: &&Record| one.at >= since && !is_own(one) && !unanswered(&one.path);
        writes.iter().filter(counts).cloned().collect()
    }

    /// What a failed run shows.
    pub async fn evidence(&self) -> String {
        let lines = |name: &str, records: Vec<Record>| {
            format!("{name}:\n{}", shown(&records[records.len().saturating_sub(60)..]))
        };
        let objects = self.environment.list("Kustomization").await;
        format!(
            "{objects:#?}\n{}\n{}\n{}",
            lines(SOURCE, self.source.writes()),
            lines(KUSTOMIZE, self.kustomize.writes()),
            self.environment.controllers.last_lines(),
        )
    }

    /// Whether both controllers have written nothing for a while, and wait for no response to a write.
    fn is_quiet(&self) -> bool {
        [&self.source, &self.kustomize].into_iter().all(|proxy| {
            let age = |record: &Record| proxy.now().saturating_sub(record.at);
            proxy.writes().iter().all(|record| {
                age(record) > QUIET && (record.outcome != Outcome::Pending || age(record) > HELD_MAX)
            })
        })
    }
}

/// Records, one a line.
pub fn shown(records: &[Record]) -> String {
    records.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn write(repository: &Repository, variant: Variant) -> Result<()> {
    let folder = variant.folder();
    for (name, value) in variant.maps() {
        repository.write(&format!("{folder}/{name}.yaml"), &config_map(name, value))?;
    }
    if let Some(value) = variant.service() {
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "front", "annotations": {"example.com/value": value}},
            "spec": {"selector": {"app": "front"}, "ports": [{"name": "http", "port": 80}]},
        });
        repository.write(&format!("{folder}/front.yaml"), &service.to_string())?;
    }
    Ok(())
}

/// The lines of one state that are not in the other.
fn difference(ended: &Snapshot, expected: &Snapshot) -> String {
    let lines = |snapshot: &Snapshot| format!("{snapshot:#?}").lines().map(str::to_owned).collect::<Vec<_>>();
    let (ended, expected) = (lines(ended), lines(expected));
    let only = |these: &[String], those: &[String], mark: &str| {
        let only = these.iter().filter(|line| !those.contains(line));
        only.map(|line| format!("{mark} {}", line.trim())).collect::<Vec<_>>()
    };
    [only(&expected, &ended, "-"), only(&ended, &expected, "+")].concat().join("\n")
}

fn normalized(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let managers = metadata["managedFields"].as_array().into_iter().flatten();
    let managers: Vec<_> =
        managers.map(|entry| json!([entry["manager"], entry["operation"], entry["fieldsV1"]])).collect();
    json!({
        "data": object["data"], "ports": object["spec"]["ports"], "labels": metadata["labels"],
        "annotations": metadata["annotations"], "managers": managers,
        "deleted": !metadata["deletionTimestamp"].is_null(),
    })
}

fn status(object: &Value) -> Value {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let conditions: Vec<_> =
        conditions.map(|one| json!([one["type"], one["status"], one["reason"]])).collect();
    let mut ids = inventory(object);
    ids.sort_unstable();
    json!({
        "conditions": conditions, "inventory": ids, "finalizers": object["metadata"]["finalizers"],
        // Each commit has a revision of its own.
        "message": message(object, "Ready").split('@').next(),
    })
}
