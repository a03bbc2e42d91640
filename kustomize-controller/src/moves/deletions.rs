//! What stops a deletion, and what is told of one: empty renderings, changes that the watch has not shown yet, finalizers,
//! entries that cannot be read, Kustomizations that leave their objects, cycles of dependencies.

use super::*;

const ONE: &str = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/one";

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/prod/configmaps/{name}")
}

impl World {
    /// Waits for an event with this reason and text.
    async fn until_reported(&self, reason: &str, text: &str) {
        self.until(&format!("{reason}: {text} is told"), |world| {
            world.api.matching("POST", "/api/v1/namespaces/flux-system/events").iter().any(|call| {
                call.body["reason"] == reason
                    && call.body["message"].as_str().unwrap_or_default().contains(text)
            })
        })
        .await;
    }

    fn stored(&self, path: &str) -> Arc<Mutex<Value>> {
        Arc::clone(&self.objects.lock().unwrap()[path])
    }
}

async fn one(edit: &Value) -> World {
    let world = World::start(&maps(&["one/a.yaml", "one/b.yaml"]), &[kustomization("one", edit)]).await;
    world.until_applied("one", REVISION).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rendering_without_objects_prunes_nothing_unless_that_is_allowed() {
    let world = one(&json!({})).await;
    world.publish(&[("one/notes.md".to_owned(), "all manifests are gone".to_owned())], NEXT);
    world.until_said("one", "the source renders no objects, and all 2 objects of the inventory").await;
    let status = world.status("one");
    assert_eq!(
        (&status["conditions"][0]["reason"], &status["conditions"][0]["status"]),
        (&json!("PruneBlocked"), &json!("False"))
    );
    assert_eq!((world.deletions(), world.inventory("one").len()), (Vec::new(), 2));
    world.until_reported("PruneBlocked", "kustomize.toolkit.fluxcd.io/allow-empty").await;
    world.edit(
        "one",
        &json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/allow-empty": "true"}}}),
    );
    world.until_applied("one", NEXT).await;
    assert_eq!((world.deletions().len(), world.inventory("one").len()), (2, 0));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_of_nearly_everything_is_told_by_itself() {
    let names: Vec<String> = (0..20).map(|at| format!("one/m{at}.yaml")).collect();
    let files = maps(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let world = World::start(&files, &[kustomization("one", &json!({}))]).await;
    world.until_applied("one", REVISION).await;
    world.publish(&files[..1], NEXT);
    world.until_applied("one", NEXT).await;
    world.until_reported("LargePrune", "19 of 20 objects left the source and were deleted").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_of_everything_that_was_there_is_told_by_itself_whatever_is_new() {
    let all = |letter: &str| -> Vec<(String, String)> {
        let paths: Vec<String> = (0..20).map(|at| format!("one/{letter}{at}.yaml")).collect();
        maps(&paths.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let world = World::start(&all("m"), &[kustomization("one", &json!({}))]).await;
    world.until_applied("one", REVISION).await;
    world.publish(&all("n"), NEXT);
    world.until_applied("one", NEXT).await;
    world.until_reported("LargePrune", "20 of 20 objects left the source and were deleted").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_stops_where_the_kustomization_is_not_the_one_that_the_watch_has_shown() {
    let world = one(&json!({})).await;
    // The watch has not told of it.
    world.stored(ONE).lock().unwrap()["spec"]["suspend"] = true.into();
    world.publish(&maps(&["one/b.yaml"]), NEXT);
    world.until_said("one", "nothing is deleted: spec.suspend has changed").await;
    assert_eq!((world.deletions(), world.inventory("one").len()), (Vec::new(), 2));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_moves_on_between_apply_and_prune_supersedes_the_attempt_without_an_alarm() {
    let world = one(&json!({})).await;
    let uid = world.map("a")["metadata"]["uid"].clone();
    world.api.forget_calls();
    let both = maps(&["one/a.yaml", "one/b.yaml"]);
    world.api.on("GET", SOURCE, Response::ok(source(&world.artifact(&both, THIRD))));
    world.publish(&maps(&["one/b.yaml"]), NEXT);
    world.until("the source is read again", |world| !world.api.matching("GET", SOURCE).is_empty()).await;
    // The watch is slower than the read.
    world.publish(&both, THIRD);
    world.until_applied("one", THIRD).await;
    assert_eq!((world.deletions(), world.inventory("one").len()), (Vec::new(), 2));
    assert_eq!(world.map("a")["metadata"]["uid"], uid);
    let failed = |call: &Call| call.body["status"]["conditions"][0]["status"] == "False";
    assert!(!world.api.matching("PATCH", &format!("{ONE}/status")).iter().any(failed));
    let told = world.api.matching("POST", "/api/v1/namespaces/flux-system/events");
    assert!(told.iter().all(|call| call.body["type"] == "Normal"), "{told:#?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_stops_where_the_watch_does_not_show_that_the_source_has_moved_on() {
    let world = one(&json!({})).await;
    let newest = source(&world.artifact(&maps(&["one/a.yaml", "one/b.yaml"]), THIRD));
    world.api.on("GET", SOURCE, Response::ok(newest));
    world.publish(&maps(&["one/b.yaml"]), NEXT);
    world.until("it is read twice", |world| world.api.matching("GET", SOURCE).len() == 2).await;
    assert_eq!((world.deletions(), world.inventory("one").len()), (Vec::new(), 2));
    let status = world.status("one");
    assert_ne!(status["conditions"][0]["status"], "False", "{status:#}");
    assert_eq!(status["lastAppliedRevision"], REVISION);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_terminates_is_told_as_such_and_stays_in_the_inventory_until_it_is_gone() {
    let world = one(&json!({})).await;
    world.stored(&path("a")).lock().unwrap()["metadata"]["finalizers"] = json!(["example.com/held"]);
    world.publish(&maps(&["one/b.yaml"]), NEXT);
    world.until_said("one", "ConfigMap/prod/a is terminating").await;
    world.until_reported("Progressing", "ConfigMap/prod/a deletion requested, finalizers hold it").await;
    assert!(world.inventory("one").contains("prod_a__ConfigMap"));
    world.objects.lock().unwrap().remove(&path("a"));
    world.until("it has left the inventory", |world| world.inventory("one").len() == 1).await;
    world.until_said("one", &format!("\"Applied revision: {NEXT}\"")).await;
    assert_eq!(world.deletions().len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_that_is_deleted_waits_until_its_objects_are_gone() {
    let world = one(&json!({})).await;
    world.stored(&path("a")).lock().unwrap()["metadata"]["finalizers"] = json!(["example.com/held"]);
    world.edit("one", &json!({"metadata": {"deletionTimestamp": "2026-11-25T06:30:00Z"}}));
    world.until_said("one", "not all objects are deleted: ConfigMap/prod/a is terminating").await;
    assert_eq!((world.map("b"), world.inventory("one").len()), (Value::Null, 1));
    world.objects.lock().unwrap().remove(&path("a"));
    world.until("it is gone", |world| world.get(ONE) == Value::Null).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_that_is_deleted_while_suspended_says_what_it_leaves() {
    let world = one(&json!({})).await;
    world.edit("one", &value(SUSPENDED));
    world.edit("one", &json!({"metadata": {"deletionTimestamp": "2026-11-25T06:30:00Z"}}));
    world.until("it is gone", |world| world.get(ONE) == Value::Null).await;
    let text =
        "2 objects of this Kustomization are left in the cluster: it was suspended when it was deleted";
    world.until_reported("ObjectsReleased", text).await;
    assert_eq!(world.deletions(), [""; 0]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_entry_that_cannot_be_read_is_kept_and_told() {
    let entries = json!([{"id": "nonsense", "v": "v1"}, {"id": "prod_old__ConfigMap", "v": "v1"}]);
    let world = one(&json!({"status": {"inventory": {"entries": entries}}})).await;
    let kept = "inventory entry \"nonsense\" cannot be read and is kept";
    world.until_reported("PruneHeld", kept).await;
    let expected = ["nonsense", "prod_a__ConfigMap", "prod_b__ConfigMap"];
    assert_eq!(world.inventory("one"), expected.map(str::to_owned).into());
    world.edit("one", &json!({"metadata": {"deletionTimestamp": "2026-11-25T06:30:00Z"}}));
    world.until_said("one", "not all objects are deleted: inventory entry").await;
    assert_eq!(world.inventory("one").len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_of_dependencies_stalls_with_its_way_until_one_of_them_changes() {
    let on = |name: &str| json!({"spec": {"dependsOn": [{"name": name}]}});
    let all = [kustomization("one", &on("two")), kustomization("two", &on("one"))];
    let world = World::start(&maps(&["one/a.yaml", "two/z.yaml"]), &all).await;
    world.until_said("one", "flux-system/one -> flux-system/two -> flux-system/one").await;
    world.until_said("two", "flux-system/two -> flux-system/one -> flux-system/two").await;
    let conditions = world.status("one")["conditions"].clone();
    let stalled = conditions.as_array().unwrap().iter().find(|condition| condition["type"] == "Stalled");
    assert_eq!(stalled.unwrap()["reason"], "DependencyCycle");
    world.edit("two", &json!({"spec": {"dependsOn": null}}));
    world.until_applied("two", REVISION).await;
    world.until_applied("one", REVISION).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_namespace_of_the_source_is_that_of_the_kustomization() {
    let world = one(&json!({"spec": {"sourceRef": {"namespace": ""}}})).await;
    world.publish(&maps(&["one/b.yaml"]), NEXT);
    world.until_applied("one", NEXT).await;
    assert_eq!((world.deletions(), world.inventory("one").len()), (vec![path("a")], 1));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_read_is_told_once_however_often_an_attempt_fails() {
    let mut files = maps(&["one/a.yaml"]);
    let gate = "apiVersion: net.test/v1\nkind: Gate\nmetadata: {name: a}\n";
    files.push(("one/gate.yaml".to_owned(), gate.to_owned()));
    let entries = json!([{"id": "nonsense", "v": "v1"}]);
    let edit = json!({"spec": {"retryInterval": "1s"}, "status": {"inventory": {"entries": entries}}});
    let world = World::start(&files, &[kustomization("one", &edit)]).await;
    world
        .until("it has failed three times", |world| {
            world.status("one")["history"][0]["totalReconciliations"].as_u64() >= Some(3)
        })
        .await;
    let events = "/api/v1/namespaces/flux-system/events";
    let posted = world.api.matching("POST", events);
    let told = posted.iter().filter(|call| call.body["message"].to_string().contains("nonsense"));
    assert_eq!((told.count(), world.api.matching("PATCH", &format!("{events}/*")).len()), (1, 0));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_whose_directory_is_not_there_holds_no_prune() {
    let world = two(&json!({}), &json!({"spec": {"path": "./nowhere"}})).await;
    world.until_said("two", "kustomization path not found").await;
    world.publish(&maps(&["one/b.yaml"]), NEXT);
    world.until_applied("one", NEXT).await;
    assert_eq!((world.deletions(), world.inventory("one").len()), (vec![path("a")], 1));
    world.stop().await;
}

/// `b` leaves the source and `a` moves to `two`, which cannot be built for want of a variable or key.
async fn incomplete(spec: Value, file: &str) -> World {
    let world = two(&json!({}), &json!({ "spec": spec })).await;
    let mut files = maps(&["one/c.yaml", "two/a.yaml"]);
    files.push(("two/incomplete.yaml".to_owned(), file.to_owned()));
    world.publish(&files, NEXT);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_variable_or_key_holds_only_what_is_wanted_all_the_same() {
    let missing = json!({"postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": "none"}]}});
    let unset = json!({"postBuild": {"substitute": {"other": "value"}}});
    let variable =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: v, namespace: prod}\ndata: {v: \"${unset}\"}\n";
    let encrypted =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: prod}\nsops: {version: 3.9.0}\n";
    for (spec, file) in [(missing, variable), (unset, variable), (json!({}), encrypted)] {
        let world = incomplete(spec.clone(), file).await;
        world.until_said("one", "a is kept: Kustomization/flux-system/two contains it").await;
        world.until_applied("one", NEXT).await;
        assert_eq!(world.deletions(), [path("b")], "{spec}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_variable_in_a_name_holds_everything() {
    let spec = json!({"postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": "none"}]}});
    let file = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"${name}\", namespace: prod}\n";
    let world = incomplete(spec, file).await;
    world.until_said("one", "b is kept: Kustomization/flux-system/two may contain it").await;
    assert_eq!(world.deletions(), [""; 0]);
    world.stop().await;
}
