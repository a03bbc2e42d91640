//! One look at one object: what is live, what the server would make of what is desired, and what follows.

use std::sync::Arc;
use std::time::Duration;

use plumb_api::kustomize::DriftMode;
use plumb_apply::observe;
use plumb_cluster::{Budget, NamespacedName, RequestError};
use plumb_manifests::Object;
use plumb_planning::diff;
use plumb_planning::exclusion::Policy;
use plumb_planning::fields::FieldSet;
use plumb_planning::ownership::Owned;
use plumb_planning::prune::SkipReason;
use plumb_planning::record::Cause;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::drift_loop::Shared;
use crate::rules::Finding;
use crate::rules::correction::Situation;
use crate::rules::finding::lacks_fields;
use crate::rules::open::ReportAfter;
use crate::state::{CompareAgain, CompareJob, Finished, Input, LookFailure, OpenOutcome, Outcome, OwnerRef};

/// How long one look may take, its correction included.
const LOOK_MAX: Duration = Duration::from_mins(1);

/// A comparison under way. The state is informed of every outcome.
pub(super) struct Look {
    pub shared: Arc<Shared>,
    pub job: CompareJob,
    pub budget: Budget,
    /// Whether it was allowed to write.
    pub writing: bool,
    /// The time from the event until the evidence was complete.
    pub detected: Option<Duration>,
    done: bool,
}

/// Carries out one comparison. It waits for no slow response once `hurry` is cancelled.
pub(crate) async fn run(shared: Arc<Shared>, job: CompareJob, hurry: CancellationToken) {
    let cause = job.request.cause.map_or("no event", describe);
    tracing::debug!(owner = %job.owner, object = %job.id, cause, "comparing object");
    let until = Instant::now() + LOOK_MAX;
    let budget = Budget::new(until, shared.deps.shutdown.clone()).hurried(until, hurry);
    let mut look = Look { shared, job, budget, writing: false, detected: None, done: false };
    let outcome = match look.compare().await {
        Ok(outcome) => outcome,
        Err(RequestError::Cancelled) if !look.budget.is_stopped() => Outcome::Abandoned,
        Err(error) => Outcome::Failed(failure(&error)),
    };
    look.end(outcome);
}

impl Drop for Look {
    fn drop(&mut self) {
        if !self.done {
            self.end(Outcome::Abandoned);
        }
    }
}

/// Drift that is not corrected by decision.
pub(super) fn decided(finding: Finding, live: Option<Object>, why: &SkipReason) -> Outcome {
    Outcome::Open(Box::new(OpenOutcome {
        finding,
        live,
        why: why.to_string(),
        report: ReportAfter::AtOnce,
        again: CompareAgain::Never,
        held_by_controller: matches!(why, SkipReason::HeldByController(_)),
    }))
}

fn failure(error: &RequestError) -> LookFailure {
    LookFailure {
        message: error.to_string(),
        denied: error.rejection().is_some_and(|rejection| matches!(rejection.code, 401 | 403)),
        passing: error.is_passing(),
        away: error.is_away(),
    }
}

impl Look {
    fn end(&mut self, outcome: Outcome) {
        self.done = true;
        let (job, wrote, detected) = (self.job.clone(), self.writing, self.detected);
        self.shared.step(Input::Finished(Box::new(Finished { job, outcome, wrote, detected })));
        if wrote {
            self.shared.written.notify_waiters();
        }
    }

    async fn compare(&mut self) -> Result<Outcome, RequestError> {
        let live = self.evidence().await?;
        if live.is_none() && self.has_vanished() {
            return Ok(Outcome::Vanished);
        }
        let mode = if self.job.request.restore { DriftMode::Enabled } else { self.job.situation.mode };
        let deleting = live.as_ref().is_some_and(is_deleting);
        let situation = Situation { mode, deleting, ..self.job.situation };
        if let Some(why) = live.as_ref().and_then(|live| self.belongs_to_another(live))
            && let Some(live) = live
        {
            return self.flag(live, &why).await;
        }
        match (situation.allows(), live) {
            (Err(SkipReason::BeingDeleted), Some(live)) => Ok(Outcome::Deleting { live }),
            (Err(why), Some(live)) => self.flag(live, &why).await,
            (Err(why), None) => Ok(decided(Finding::missing(self.job.request.arrived), None, &why)),
            (Ok(()), live) => self.correct(live).await,
        }
    }

    /// Another Kustomization has applied the object, as when a commit moves it from one to the other: to apply it again would
    /// overwrite the new owner's labels. Labels that name no Kustomization are only labels that were changed.
    fn belongs_to_another(&self, live: &Object) -> Option<SkipReason> {
        let Owned::Another(other) = self.job.owner.labels().of(live) else { return None };
        let name = NamespacedName::new(&other.namespace, &other.name);
        let owner = OwnerRef { kind: self.job.owner.kind, name };
        self.shared.deps.events.exists(&owner).then_some(SkipReason::OwnedBy(other))
    }

    pub fn has_vanished(&self) -> bool {
        self.job.has_vanished(self.shared.now())
    }

    /// The live object, before anything is done to it.
    pub async fn evidence(&mut self) -> Result<Option<Object>, RequestError> {
        let planned = &self.job.planned;
        let cluster = &self.shared.deps.cluster;
        let live = observe::live(cluster, &self.job.id, planned.object.version(), &self.budget).await?;
        let since = self.shared.now().duration_since(self.job.request.arrived);
        self.detected = Some(Duration::try_from(since).unwrap_or_default());
        Ok(live)
    }

    /// Compares without writing.
    async fn flag(&mut self, live: Object, why: &SkipReason) -> Result<Outcome, RequestError> {
        Ok(match self.differs(&live).await? {
            (Some(finding), _) => decided(finding, Some(live), why),
            (None, lacks_fields) => Outcome::Clean { live, lacks_fields },
        })
    }

    /// What a dry run of the desired object would change, and whether our entry lacks fields. Where the server rejects
    /// the dry run, the fields that are set are compared unchanged.
    pub async fn differs(&self, live: &Object) -> Result<(Option<Finding>, bool), RequestError> {
        let (desired, arrived) = (&self.job.planned.object, self.job.request.arrived);
        match observe::dry_run(&self.shared.deps.cluster, desired, &self.budget).await {
            Ok(expected) => {
                let mut changes = diff::changes(live, &expected);
                if self.job.planned.policy != Policy::Merge {
                    changes.extend(diff::extras(live, &expected, &self.shared.deps.takeover));
                }
                Ok((Finding::from_changes(changes, live, arrived), lacks_fields(live, &expected)))
            }
            Err(error) if is_about_content(&error) => {
                let owned = FieldSet::of_desired(desired.value());
                let changes = diff::changes_in(&owned, live, desired);
                match Finding::from_changes(changes, live, arrived) {
                    Some(finding) => Ok((Some(finding), true)),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the server rejects the content of the object, and would again.
pub(super) fn is_about_content(error: &RequestError) -> bool {
    error
        .rejection()
        .is_some_and(|rejection| matches!(rejection.code, 400 | 409 | 422) || rejection.immutable)
}

fn is_deleting(live: &Object) -> bool {
    live.at(&["metadata", "deletionTimestamp"]).is_some_and(|time| !time.is_null())
}

/// A cause, for a line of the log.
fn describe(cause: Cause) -> &'static str {
    match cause {
        Cause::OwnEntry => "our managedFields entry changed",
        Cause::Generation => "the generation changed",
        Cause::Version => "the resourceVersion changed",
        Cause::Flagged => "an object with open drift changed",
        Cause::Recreated => "the object was recreated",
        Cause::Unlabelled => "the owner labels are gone",
        Cause::Leftover => "a person's tool wrote",
    }
}
