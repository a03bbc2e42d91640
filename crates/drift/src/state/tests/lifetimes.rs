//! Objects that leave and come back, owners that share an object, and comparisons that end after the state has changed.

use super::*;

fn other() -> OwnerRef {
    OwnerRef::kustomization(&NamespacedName::new("flux-system", "other"))
}

pub(super) fn config_maps() -> Kind {
    (String::new(), "v1".to_owned(), "ConfigMap".to_owned())
}

fn drifted(planned: &Planned) -> Finding {
    Finding::compare(&live(planned, 11), &live(&settings("0"), 10), at(1)).unwrap()
}

fn corrected(job: &CompareJob, planned: &Planned, version: u32) -> Input {
    let outcome = Outcome::Corrected { finding: drifted(planned), live: live(planned, version), rest: None };
    Input::Finished(Box::new(Finished { job: job.clone(), outcome, wrote: true, detected: None }))
}

fn restore_all(planned: &Planned) -> Input {
    let request = RestoreRequest {
        raw: at(2).to_string(),
        echoed: None,
        crd_echoes: true,
        inventory: [(planned.id.clone(), "v1".to_owned())].into_iter().collect(),
    };
    Input::Restore(owner(), request)
}

fn reasons(effects: &[Effect]) -> Vec<Reason> {
    let reason = |effect: &Effect| match effect {
        Effect::Report(_, event) => Some(event.reason),
        _ => None,
    };
    effects.iter().filter_map(reason).collect()
}

#[test]
fn a_comparison_of_a_deleted_owner_neither_writes_nor_ends_that_of_its_successor() {
    let (before, after) = (settings("1"), settings("2"));
    let mut state = begun(DriftMode::Enabled, std::slice::from_ref(&before));
    let old = looks(state.step(edited(&before, 11), at(1))).remove(0);
    let waits = state.clone();
    for writes_already in [false, true] {
        let mut state = waits.clone();
        assert!(!writes_already || state.may_write(&old));
        state.step(Input::Forget(owner()), at(2));
        let again = adopted(DriftMode::Enabled, std::slice::from_ref(&after), 20);
        state.step(Input::Adopt(owner(), again), at(3));
        let new = looks(state.step(edited(&after, 21), at(4))).remove(0);
        if !writes_already {
            assert!(!state.may_write(&old), "it would write what is no longer desired");
        }
        assert!(state.may_write(&new));
        state.step(corrected(&old, &before, 22), at(5));
        assert!(state.is_writing(&owner()), "the correction of the new look is in flight");
        let second = looks(state.step(edited(&after, 23), at(6)));
        assert!(second.is_empty(), "two looks at one object: {second:?}");
        state.step(corrected(&new, &after, 24), at(7));
        assert!(!state.is_writing(&owner()));
    }
}

#[test]
fn a_restore_whose_comparison_had_no_result_is_still_pending() {
    let passing = LookFailure { message: "timeout".to_owned(), denied: false, passing: true, away: true };
    for nothing in [Outcome::Abandoned, Outcome::Failed(passing)] {
        let planned = settings("1");
        let mut state = begun(DriftMode::Warn, std::slice::from_ref(&planned));
        let job = looks(state.step(edited(&planned, 11), at(1))).remove(0);
        state.step(finished(&job, open(drifted(&planned), live(&planned, 11))), at(1));
        let mut job = looks(state.step(restore_all(&planned), at(5))).remove(0);
        for second in [6, 60, 120, 180, 240] {
            // An attempt of other objects begins meanwhile.
            state.step(Input::Hold(owner()), at(second));
            state.step(finished(&job, nothing.clone()), at(second));
            state.step(Input::Release(owner()), at(second));
            let report = state.report(&owner(), at(second)).unwrap();
            let handled = report.drift.and_then(|drift| drift.last_handled_restore);
            assert_eq!(handled, None, "{nothing:?} at {second}");
            job = looks(state.step(Input::Tick, at(second + 40))).remove(0);
            assert!(job.request.restore, "{nothing:?} at {second}");
        }
        assert!(state.may_write(&job));
        state.step(corrected(&job, &planned, 12), at(300));
        let handled = state.report(&owner(), at(300)).unwrap().drift.unwrap().last_handled_restore;
        assert_eq!(handled, Some(at(2).to_string()));
    }
}

#[test]
fn drift_in_the_status_stays_until_a_comparison_has_a_result() {
    let planned = settings("1");
    let mut before = begun(DriftMode::Warn, std::slice::from_ref(&planned));
    let job = looks(before.step(edited(&planned, 11), at(1))).remove(0);
    before.step(finished(&job, open(drifted(&planned), live(&planned, 11))), at(1));
    let status = before.report(&owner(), at(2)).unwrap().drift.unwrap();

    let restarted = |mode| {
        let mut state = State::new(Settings { concurrency: 4, started: at(10) });
        state.step(Input::Remember(owner(), status.clone()), at(11));
        let managed = Managed { applied: Vec::new(), ..adopted(mode, std::slice::from_ref(&planned), 11) };
        let effects = state.step(Input::AdoptUnverified(owner(), managed), at(11));
        (state, looks(effects))
    };
    let (mut state, jobs) = restarted(DriftMode::Warn);
    state.step(finished(&jobs[0], Outcome::Abandoned), at(12));
    assert_eq!(state.report(&owner(), at(12)), None, "nothing is known of it yet");
    let (state, jobs) = restarted(DriftMode::Disabled);
    assert!(jobs.is_empty());
    assert!(state.report(&owner(), at(12)).is_some(), "nothing will be compared: nothing is waited for");
}

#[test]
fn an_object_of_two_owners_is_shown_to_the_first_again_when_the_second_releases_it() {
    let planned = settings("1");
    let objects = std::slice::from_ref(&planned);
    for forgotten in [true, false] {
        let mut state = begun(DriftMode::Enabled, objects);
        state.step(Input::Adopt(other(), adopted(DriftMode::Enabled, objects, 12)), at(1));
        assert_eq!(state.owner_of(&planned.id), Some(&other()));
        let leaves = if forgotten {
            Input::Forget(other())
        } else {
            Input::Adopt(other(), adopted(DriftMode::Enabled, &[], 0))
        };
        let jobs = looks(state.step(leaves, at(2)));
        assert_eq!(state.owner_of(&planned.id), Some(&owner()));
        assert_eq!(jobs.len(), 1, "it did not see what happened meanwhile");
        let clean = Outcome::Clean { live: live(&planned, 13), lacks_fields: false };
        state.step(finished(&jobs[0], clean), at(2));
        let metadata = live(&planned, 13).value()["metadata"].clone();
        let jobs = looks(state.step(Input::Missed(config_maps(), planned.id.clone(), metadata), at(9)));
        assert_eq!(jobs.len(), 1, "a deletion by the second owner is seen");
        assert_eq!(jobs[0].owner, owner());
    }
}

#[test]
fn an_owner_that_leaves_an_object_to_another_does_not_take_it_back() {
    let planned = settings("1");
    let objects = std::slice::from_ref(&planned);
    let mut state = begun(DriftMode::Enabled, objects);
    state.step(Input::Adopt(other(), adopted(DriftMode::Enabled, objects, 12)), at(1));
    assert!(looks(state.step(Input::Forget(owner()), at(2))).is_empty());
    assert_eq!(state.owner_of(&planned.id), Some(&other()));
    state.step(Input::Forget(other()), at(3));
    assert_eq!(state.owner_of(&planned.id), None);
    assert!(state.index.objects_of(&config_maps()).is_empty());
    assert!(state.is_idle());
}

#[test]
fn the_end_of_contention_is_reported_also_when_an_attempt_applies_the_object_meanwhile() {
    let planned = settings("1");
    let mut state = begun(DriftMode::Enabled, std::slice::from_ref(&planned));
    let (mut version, mut second, mut began) = (10, 0, false);
    while !began {
        (version, second) = (version + 2, second + 2);
        let job = looks(state.step(edited(&planned, version), at(second))).remove(0);
        assert!(state.may_write(&job));
        let effects = state.step(corrected(&job, &planned, version + 1), at(second));
        began = reasons(&effects).contains(&Reason::DriftContention);
        assert!(second < 20, "no contention");
    }
    let again = Managed {
        applied: vec![Applied {
            id: planned.id.clone(),
            change: ApplyChange::Unchanged,
            live: live(&planned, version + 1),
        }],
        ..adopted(DriftMode::Enabled, std::slice::from_ref(&planned), version + 1)
    };
    state.step(Input::Hold(owner()), at(second + 1));
    state.step(Input::Adopt(owner(), again), at(second + 1));
    state.step(Input::Release(owner()), at(second + 1));
    let jobs = looks(state.step(Input::Tick, at(second + 60)));
    assert_eq!(jobs.len(), 1, "a look finds its end");
    let clean = Outcome::Clean { live: live(&planned, version + 1), lacks_fields: false };
    let effects = state.step(finished(&jobs[0], clean), at(second + 60));
    assert_eq!(reasons(&effects), [Reason::DriftContention]);
}

#[test]
fn a_kind_denied_after_its_last_object_was_released_is_reported_when_denied_again() {
    let planned = settings("1");
    let objects = std::slice::from_ref(&planned);
    let denied = || Input::Denied(config_maps(), "forbidden".to_owned());
    let mut state = begun(DriftMode::Enabled, objects);
    state.step(Input::Forget(owner()), at(1));
    // A response in flight.
    assert!(reasons(&state.step(denied(), at(2))).is_empty());
    state.step(Input::Adopt(owner(), adopted(DriftMode::Enabled, objects, 12)), at(3));
    assert_eq!(reasons(&state.step(denied(), at(4))), [Reason::DriftUnknown]);
}

#[test]
fn a_deletion_from_before_a_known_state_is_no_reason_to_look() {
    let planned = settings("1");
    let mut state = begun(DriftMode::Enabled, std::slice::from_ref(&planned));
    let missed = |version| {
        let metadata = live(&planned, version).value()["metadata"].clone();
        Input::Missed(config_maps(), planned.id.clone(), metadata)
    };
    assert!(looks(state.step(missed(9), at(1))).is_empty());
    assert_eq!(looks(state.step(missed(10), at(1))).len(), 1);
}

#[test]
fn what_a_correction_has_put_back_is_not_reported_again_by_the_attempt_that_waited_for_it() {
    let planned = settings("1");
    let mut state = begun(DriftMode::Enabled, std::slice::from_ref(&planned));
    let job = looks(state.step(edited(&planned, 11), at(1))).remove(0);
    assert!(state.may_write(&job));
    state.step(Input::Hold(owner()), at(2));
    let metadata = live(&planned, 12).value()["metadata"].clone();
    state.step(Input::Missed(config_maps(), planned.id.clone(), metadata), at(2));
    let effects = state.step(corrected(&job, &planned, 13), at(3));
    assert_eq!(reasons(&effects), [Reason::DriftCorrected]);
    let after = adopted(DriftMode::Enabled, &[settings("2")], 14);
    assert!(reasons(&state.step(Input::Adopt(owner(), after), at(4))).is_empty());
}

#[test]
fn each_owner_that_watches_a_denied_kind_is_told_whenever_it_takes_objects_of_it() {
    let (first, second) = (settings("1"), settings("2"));
    let denied = || Input::Denied(config_maps(), "forbidden".to_owned());
    let told = |effects: &[Effect]| {
        let told = |effect: &Effect| match effect {
            Effect::Report(owner, event) => Some((owner.clone(), event.reason, event.message.clone())),
            _ => None,
        };
        effects.iter().filter_map(told).collect::<Vec<_>>()
    };
    let text =
        "ConfigMap cannot be watched for drift (1 managed here): forbidden; compared at the interval only";
    let expected = |owner| vec![(owner, Reason::DriftUnknown, text.to_owned())];
    let mut state = begun(DriftMode::Enabled, std::slice::from_ref(&first));
    // It has the same object, but watches nothing.
    state.step(Input::Adopt(other(), adopted(DriftMode::Disabled, &[second], 20)), at(1));
    assert_eq!(told(&state.step(denied(), at(2))), expected(owner()));
    let policy = DriftPolicy { mode: DriftMode::Warn, ..DriftPolicy::default() };
    assert_eq!(told(&state.step(Input::Policy(other(), policy.clone()), at(3))), expected(other()));
    assert!(told(&state.step(denied(), at(4))).is_empty(), "it is known");
    state.step(Input::Forget(other()), at(5));
    let again = adopted(DriftMode::Warn, &[settings("3")], 30);
    assert_eq!(told(&state.step(Input::Adopt(other(), again), at(6))), expected(other()));
    // From now on it may be watched.
    state.step(Input::Listed(config_maps(), BTreeSet::new()), at(7));
    state.step(Input::Forget(other()), at(8));
    let again = adopted(DriftMode::Warn, &[settings("3")], 40);
    assert!(told(&state.step(Input::Adopt(other(), again), at(9))).is_empty());
}

/// What an attempt reports that applies another revision after this; the object has this UID then.
fn reported_by_attempt(state: &mut State, uid: &str) -> Vec<String> {
    let mut managed = adopted(DriftMode::Enabled, &[settings("2")], 20);
    let mut live = live(&settings("2"), 20).value().clone();
    live["metadata"]["uid"] = uid.into();
    managed.applied[0].live = Object::new(live).unwrap();
    let effects = state.step(Input::Adopt(owner(), managed), at(9));
    let message = |effect: &Effect| match effect {
        Effect::Report(_, event) => Some(event.message.clone()),
        _ => None,
    };
    effects.iter().filter_map(message).collect()
}

#[test]
fn a_list_without_an_object_that_was_not_deleted_is_no_deletion_that_an_attempt_overwrites() {
    for (uid, deleted) in [("u1", false), ("u2", true)] {
        let planned = settings("1");
        let mut state = begun(DriftMode::Enabled, std::slice::from_ref(&planned));
        state.step(Input::Hold(owner()), at(1));
        // The list may have begun before the object was there.
        state.step(Input::Listed(config_maps(), BTreeSet::new()), at(2));
        let reported = reported_by_attempt(&mut state, uid);
        assert_eq!(reported.iter().any(|text| text.contains(" missing: ")), deleted, "{uid}: {reported:?}");
        assert_eq!(reported.len(), usize::from(deleted), "{uid}: {reported:?}");
    }
}

#[test]
fn labels_that_are_stripped_while_an_attempt_runs_are_read_and_reported_once() {
    let planned = settings("1");
    // Whether a correction that was in flight has put them back before the read has ended.
    for corrects in [false, true] {
        let mut state = begun(DriftMode::Enabled, std::slice::from_ref(&planned));
        let job = looks(state.step(edited(&planned, 11), at(1))).remove(0);
        if corrects {
            assert!(state.may_write(&job));
        } else {
            state.step(corrected(&job, &planned, 11), at(1));
        }
        state.step(Input::Hold(owner()), at(2));
        let metadata = live(&planned, 12).value()["metadata"].clone();
        let effects = state.step(Input::Missed(config_maps(), planned.id.clone(), metadata), at(3));
        let read = effects.into_iter().find_map(|effect| match effect {
            Effect::Read(read) => Some(read),
            _ => None,
        });
        let read = read.expect("it is read before the attempt overwrites it");
        assert_eq!(read.version.as_deref(), Some("12"), "the version that has no labels");
        if corrects {
            state.step(corrected(&job, &planned, 13), at(4));
        }
        let mut stripped = live(&planned, 12).value().clone();
        stripped["metadata"]["labels"] = json!({});
        let stripped = Object::new(stripped).unwrap();
        let finding = Finding::compare(&stripped, &live(&planned, 12), at(3)).unwrap();
        state.step(Input::Read(read, Some(finding)), at(5));
        let reported = reported_by_attempt(&mut state, "u1");
        let expected = usize::from(!corrects);
        assert_eq!(
            reported.iter().filter(|text| text.contains(" disowned: ")).count(),
            expected,
            "{reported:?}"
        );
        assert_eq!(reported.len(), expected, "{reported:?}");
    }
}
