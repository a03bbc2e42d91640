//! Corrects an object: the evidence first, then the write over exactly that evidence, then the difference.

use plumb_api::kustomize::DriftClass;
use plumb_apply::write::{self, Written};
use plumb_cluster::RequestError;
use plumb_manifests::Object;
use plumb_planning::diff;
use plumb_planning::plan::Planned;
use plumb_planning::prune::SkipReason;

use super::compare::{Look, decided, is_about_content};
use crate::rules::contention::ContentionChange;
use crate::rules::correction::{self, controller_may_hold};
use crate::rules::open::ReportAfter;
use crate::rules::{FieldDrift, Finding};
use crate::state::{CompareAgain, OpenOutcome, Outcome};

/// From this write on no version is required: an object whose status changes all the time must not wait for ever. The
/// evidence is then as new as one request allows.
const UNBOUND_FROM: usize = 2;

impl Look {
    /// Corrects what may be corrected now.
    pub async fn correct(&mut self, live: Option<Object>) -> Result<Outcome, RequestError> {
        let Some(live) = live else { return self.recreate().await };
        let restore = self.job.request.restore;
        let desired = &self.job.planned.object;
        let doubtful =
            self.job.request.careful || controller_may_hold(desired, &live, &self.shared.deps.tools);
        if restore || !doubtful {
            return self.overwrite(live, None, Vec::new()).await;
        }
        let (finding, lacks_fields) = self.differs(&live).await?;
        let Some(finding) = finding else { return Ok(Outcome::Clean { live, lacks_fields }) };
        let (now, later) = correction::split(finding.fields.clone(), &self.shared.deps.tools);
        if now.is_empty() {
            let why = held_by(&later);
            return Ok(decided(Finding { fields: later, ..finding }, Some(live), &why));
        }
        self.overwrite(live, Some(finding), later).await
    }

    /// Writes over the evidence. `expected`: what a dry run has shown already. `taken`: fields that a controller keeps.
    async fn overwrite(
        &mut self,
        live: Object,
        expected: Option<Finding>,
        taken: Vec<FieldDrift>,
    ) -> Result<Outcome, RequestError> {
        let expected = match expected {
            // Which fields wait has to be known before a write.
            None if self.is_contended() => match self.differs(&live).await? {
                (Some(finding), _) => Some(finding),
                (None, lacks_fields) => return Ok(Outcome::Clean { live, lacks_fields }),
            },
            expected => expected,
        };
        if let Some(finding) = &expected
            && let ContentionChange::Later(at) = self.contention(finding)
        {
            return Ok(contended(finding.clone(), live, at));
        }
        if !self.may_write() {
            return Ok(Outcome::Postponed);
        }
        let planned = self.planned_without(&taken);
        let first = live.clone();
        let mut live = live;
        for attempt in 1.. {
            match self.write(&planned, &live, attempt).await {
                Ok(written) => return Ok(self.corrected(&first, &live, written, taken)),
                Err(error) if attempt < UNBOUND_FROM && has_moved(&error) => match self.evidence().await? {
                    Some(newer) => live = newer,
                    None => return self.recreate().await,
                },
                Err(error) => return self.obstructed(live, expected, error).await,
            }
        }
        Ok(Outcome::Postponed)
    }

    async fn write(&self, planned: &Planned, live: &Object, attempt: usize) -> Result<Written, RequestError> {
        let deps = &self.shared.deps;
        // What may vanish meanwhile must not come back by this write.
        if attempt < UNBOUND_FROM || self.has_vanished() {
            write::write_over(&deps.cluster, planned, live, &deps.takeover, &self.budget).await
        } else {
            write::write(&deps.cluster, planned, None, &deps.takeover, &self.budget).await
        }
    }

    fn corrected(&self, first: &Object, live: &Object, written: Written, taken: Vec<FieldDrift>) -> Outcome {
        let arrived = self.job.request.arrived;
        let answered = written.live;
        let found = |evidence: &Object| {
            let mut changes = diff::changes(evidence, &answered);
            changes.extend(diff::swept(evidence, &answered, &self.shared.deps.takeover));
            Finding::from_changes(changes, evidence, arrived)
        };
        // Where a response was lost and the write repeated, the first comparison shows the drift.
        let finding = found(live).or_else(|| found(first));
        let rest = (!taken.is_empty()).then(|| Finding {
            class: DriftClass::Drifted,
            fields: taken,
            obstacle: String::new(),
            seen: arrived,
        });
        match finding {
            Some(finding) => Outcome::Corrected { finding, live: answered, rest },
            None => Outcome::Clean { live: answered, lacks_fields: rest.is_some() },
        }
    }

    async fn recreate(&mut self) -> Result<Outcome, RequestError> {
        if self.has_vanished() {
            return Ok(Outcome::Vanished);
        }
        let finding = Finding::missing(self.job.request.arrived);
        if !self.may_write() {
            return Ok(Outcome::Postponed);
        }
        let deps = &self.shared.deps;
        let planned = &self.job.planned;
        match write::write(&deps.cluster, planned, None, &deps.takeover, &self.budget).await {
            Ok(written) => Ok(Outcome::Corrected { finding, live: written.live, rest: None }),
            Err(RequestError::Cancelled) => Err(RequestError::Cancelled),
            Err(error) => Ok(rejected(finding, None, &error)),
        }
    }

    /// The server would not take the write: what differs is reported with its reason.
    async fn obstructed(
        &self,
        live: Object,
        expected: Option<Finding>,
        error: RequestError,
    ) -> Result<Outcome, RequestError> {
        let finding = match expected {
            Some(finding) => Some(finding),
            None if is_about_content(&error) => self.differs(&live).await?.0,
            None => None,
        };
        match finding {
            Some(finding) => Ok(rejected(finding, Some(live), &error)),
            None => Err(error),
        }
    }

    /// Whether corrections of some field of the object back off. A requested restore does not.
    fn is_contended(&self) -> bool {
        !self.job.request.restore && self.job.contention.is_active()
    }

    /// When an object that differs so may be corrected.
    fn contention(&self, finding: &Finding) -> ContentionChange {
        if self.job.request.restore {
            ContentionChange::Now
        } else {
            self.job.contention.check(finding, self.shared.now())
        }
    }

    /// Whether it may write: not while an attempt holds the owner, nor after one has applied the object. Checked once.
    fn may_write(&mut self) -> bool {
        if !self.writing {
            self.writing = self.shared.lock().may_write(&self.job);
        }
        self.writing
    }

    fn planned_without(&self, taken: &[FieldDrift]) -> Planned {
        let planned = Planned::clone(&self.job.planned);
        if taken.is_empty() {
            return planned;
        }
        Planned { object: correction::without(&planned.object, taken), ..planned }
    }
}

fn held_by(fields: &[FieldDrift]) -> SkipReason {
    let manager = fields.iter().map(|field| field.writer.manager.clone()).find(|name| !name.is_empty());
    SkipReason::HeldByController(manager.unwrap_or_else(|| "another client".to_owned()))
}

fn contended(finding: Finding, live: Object, at: jiff::Timestamp) -> Outcome {
    Outcome::Open(Box::new(OpenOutcome {
        finding,
        live: Some(live),
        why: SkipReason::Contended.to_string(),
        report: ReportAfter::AfterGrace,
        again: CompareAgain::At(at),
        held_by_controller: false,
    }))
}

fn rejected(finding: Finding, live: Option<Object>, error: &RequestError) -> Outcome {
    Outcome::Open(Box::new(OpenOutcome {
        finding,
        live,
        why: error.to_string(),
        // It is tried again: what goes well in a moment is reported as corrected alone.
        report: ReportAfter::AfterGrace,
        again: CompareAgain::Backoff,
        held_by_controller: false,
    }))
}

/// Whether a bound write found another state than was seen.
fn has_moved(error: &RequestError) -> bool {
    error.rejection().is_some_and(|rejection| {
        !rejection.immutable && (matches!(rejection.code, 404 | 409) || rejection.code == 500)
    })
}
