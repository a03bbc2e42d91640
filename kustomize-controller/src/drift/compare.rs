//! Compare: one look at one object: what is live, what the server would make of what is desired, and what follows.

use std::sync::Arc;
use std::time::Duration;

use plumb_apply::observe;
use plumb_cluster::{Budget, NamespacedName, RequestError};
use plumb_manifests::Object;
use plumb_planning::diff;
use plumb_planning::drift::correction::Situation;
use plumb_planning::drift::finding::lacks_fields;
use plumb_planning::drift::mode::Mode;
use plumb_planning::drift::standing::ReportAfter;
use plumb_planning::drift::{Finding, vanish};
use plumb_planning::exclusion::Policy;
use plumb_planning::fields::FieldSet;
use plumb_planning::ownership::{Owned, Owner};
use plumb_planning::prune::WhyNot;
use tokio::time::Instant;

use super::book::Gone;
use super::desk::Shared;
use super::turns::CompareJob;

/// How long one look may take, its correction included.
const LOOK_MAX: Duration = Duration::from_mins(1);

/// What came of a look.
pub(super) enum Outcome {
    /// Live and desired are the same.
    Clean {
        live: Object,
        /// Whether our entry lacks fields of it, so that it has to be watched more closely.
        lacks: bool,
    },
    /// It was put back; `rest` is what a controller holds.
    Corrected { finding: Finding, live: Object, rest: Option<Finding> },
    /// It differs, and stays so for now.
    Stands(Box<Stands>),
    /// It is not there any more, and that is as it should be.
    Vanished,
    /// It is being deleted: its end will be seen.
    Going { live: Object },
    /// An attempt was faster: look again.
    Postponed,
    /// Nothing could be found out.
    Failed(RequestError),
    /// The process ends, or the job did.
    Abandoned,
}

/// Drift that is not corrected now.
pub(super) struct Stands {
    pub finding: Finding,
    /// The live object; `None` when there is none, or it could not be read.
    pub live: Option<Object>,
    pub why: String,
    pub telltime: ReportAfter,
    pub retry: CompareAgain,
    /// Whether a controller holds the fields.
    pub taken: bool,
}

/// When it is looked at again, though nobody stirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompareAgain {
    Never,
    At(jiff::Timestamp),
    Backoff,
    Interval,
}

impl Stands {
    /// Drift that stands by decision.
    pub fn decided(finding: Finding, live: Option<Object>, why: &WhyNot) -> Outcome {
        Outcome::Stands(Box::new(Self {
            finding,
            live,
            why: why.to_string(),
            telltime: ReportAfter::AtOnce,
            retry: CompareAgain::Never,
            taken: matches!(why, WhyNot::HeldByController(_)),
        }))
    }
}

/// A job under way. However it ends, the desk hears of it.
pub(super) struct Look {
    pub shared: Arc<Shared>,
    pub job: CompareJob,
    pub budget: Budget,
    /// Whether the gate was open to it.
    pub writing: bool,
    /// How long it took from the news until the evidence was in hand.
    pub detected: Option<Duration>,
    done: bool,
}

pub(super) async fn run(shared: Arc<Shared>, job: CompareJob) {
    let until = Instant::now() + LOOK_MAX;
    let hurry = shared.lock().books.get(&job.key).map(|book| book.hurry.clone()).unwrap_or_default();
    let budget = Budget::new(until, shared.deps.shutdown.clone()).hurried(until, hurry);
    let mut look = Look { shared, job, budget, writing: false, detected: None, done: false };
    let outcome = match look.compare().await {
        Ok(outcome) => outcome,
        Err(RequestError::Cancelled) if !look.budget.is_stopped() => Outcome::Abandoned,
        Err(error) => Outcome::Failed(error),
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

impl Look {
    fn end(&mut self, outcome: Outcome) {
        self.done = true;
        let (job, writing, detected) = (&self.job, self.writing, self.detected);
        self.shared.sit(|sitting| sitting.finish(job, outcome, writing, detected));
        if writing {
            self.shared.put_down.notify_waiters();
        }
    }

    async fn compare(&mut self) -> Result<Outcome, RequestError> {
        let live = self.evidence().await?;
        if live.is_none() && self.has_vanished() {
            return Ok(Outcome::Vanished);
        }
        let mode = if self.job.errand.restore { Mode::Enabled } else { self.job.situation.mode };
        let deleting = live.as_ref().is_some_and(is_deleting);
        let situation = Situation { mode, deleting, ..self.job.situation };
        if let Some(why) = live.as_ref().and_then(|live| self.belongs_to_another(live))
            && let Some(live) = live
        {
            return self.flag(live, &why).await;
        }
        match (situation.allows(), live) {
            (Err(WhyNot::BeingDeleted), Some(live)) => Ok(Outcome::Going { live }),
            (Err(why), Some(live)) => self.flag(live, &why).await,
            (Err(why), None) => Ok(Stands::decided(Finding::missing(self.job.errand.arrived), None, &why)),
            (Ok(()), live) => self.correct(live).await,
        }
    }

    /// Whether the absence of the object is no drift: a controller removed it when its time had come. A person who asks for
    /// it gets it back.
    pub fn has_vanished(&self) -> bool {
        let now = self.shared.deps.cluster.now();
        let errand = &self.job.errand;
        !errand.restore && errand.gone == Gone::Somehow && vanish::may_vanish(&self.job.planned.object, now)
    }

    /// Another Kustomization has applied the object, as when a commit moves it from one to the other: to take it back would
    /// let that one's labels, and then its prune, lose it. Labels that name nobody are only labels that were changed.
    fn belongs_to_another(&self, live: &Object) -> Option<WhyNot> {
        let NamespacedName { namespace, name } = &self.job.key;
        let own = Owner { name: name.clone(), namespace: namespace.clone() };
        let Owned::Another(other) = own.of(live) else { return None };
        let key = NamespacedName::new(&other.namespace, &other.name);
        self.shared.deps.events.exists(&key).then_some(WhyNot::OwnedBy(other))
    }

    /// The live object, before anything is done to it.
    pub async fn evidence(&mut self) -> Result<Option<Object>, RequestError> {
        let planned = &self.job.planned;
        let cluster = &self.shared.deps.cluster;
        let live = observe::live(cluster, &self.job.id, planned.object.version(), &self.budget).await?;
        let since = cluster.now().duration_since(self.job.errand.arrived);
        self.detected = Some(Duration::try_from(since).unwrap_or_default());
        Ok(live)
    }

    /// Compares without writing.
    async fn flag(&mut self, live: Object, why: &WhyNot) -> Result<Outcome, RequestError> {
        Ok(match self.differs(&live).await? {
            (Some(finding), _) => Stands::decided(finding, Some(live), why),
            (None, lacks) => Outcome::Clean { live, lacks },
        })
    }

    /// What a dry run of the desired object would change, and whether our entry lacks fields. Where the server refuses even
    /// to try, the fields that are set are compared as they stand.
    pub async fn differs(&self, live: &Object) -> Result<(Option<Finding>, bool), RequestError> {
        let (desired, arrived) = (&self.job.planned.object, self.job.errand.arrived);
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

/// Whether the server refuses what the object says, and would again.
pub(super) fn is_about_content(error: &RequestError) -> bool {
    error.refusal().is_some_and(|refusal| matches!(refusal.code, 400 | 409 | 422) || refusal.immutable)
}

fn is_deleting(live: &Object) -> bool {
    live.at(&["metadata", "deletionTimestamp"]).is_some_and(|time| !time.is_null())
}
