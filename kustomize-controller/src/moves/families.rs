//! A Kustomization that is deleted with those that it has applied: one of them that cannot be rendered holds nothing, unless
//! somebody else keeps it.

use super::*;

fn id(name: &str) -> Value {
    json!({"id": format!("flux-system_{name}_kustomize.toolkit.fluxcd.io_Kustomization"), "v": "v1"})
}

fn of(owner: &str) -> Value {
    json!({NAME: owner, "kustomize.toolkit.fluxcd.io/namespace": "flux-system"})
}

/// The cluster serves the kind.
fn serve_kustomizations(api: &Scenario) {
    api.serve_kinds(&["Namespace", "ConfigMap", "Kustomization"].map(ServedKind::known));
}

/// `one` is being deleted; it has applied `a` and `two`, which has applied `three`, which cannot be built. `four` is suspended.
async fn family(three: &Value, four: &Value) -> World {
    let a = json!({"id": "prod_a__ConfigMap", "v": "v1"});
    let one = json!({
        "metadata": {"deletionTimestamp": "2026-11-25T06:30:00Z", "finalizers": ["finalizers.fluxcd.io"]},
        "status": {"inventory": {"entries": [a, id("two")]}},
    });
    // It waits, so that it applies nothing by itself.
    let two = json!({
        "metadata": {"labels": of("one"), "finalizers": ["finalizers.fluxcd.io"]},
        "spec": {"dependsOn": [{"name": "nowhere"}]},
        "status": {"inventory": {"entries": [id("three")]}},
    });
    let mut files = maps(&["four/z.yaml"]);
    files.push(("two/z.yaml".to_owned(), map("y")));
    files.push(("three/broken.yaml".to_owned(), "a: [b".to_owned()));
    let mut broken = json!({"metadata": {"labels": of("two")}});
    json_patch::merge(&mut broken, three);
    let mut suspended = json!({"spec": {"suspend": true}});
    json_patch::merge(&mut suspended, four);
    let all = [
        kustomization("one", &one),
        kustomization("two", &two),
        kustomization("three", &broken),
        kustomization("four", &suspended),
    ];
    let world = World::scripted(&files, &all, serve_kustomizations).await;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "prod", "uid": "a", "resourceVersion": "1", "labels": of("one")},
    });
    let path = "/api/v1/namespaces/prod/configmaps/a".to_owned();
    world.objects.lock().unwrap().insert(path, Arc::new(Mutex::new(map)));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_is_deleted_does_not_wait_for_a_broken_grandchild() {
    let world = family(&json!({}), &json!({})).await;
    world.until("the child is deleted", |world| world.deletions().contains(&format!("{ROOT}/two"))).await;
    world.until("the object is deleted", |world| world.map("a") == Value::Null).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_is_deleted_waits_for_a_broken_grandchild_that_somebody_else_keeps() {
    let keeps = json!({"status": {"inventory": {"entries": [id("three")]}}});
    let kept = json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/prune": "disabled"}}});
    for (three, four) in [(json!({}), keeps), (kept, json!({}))] {
        let world = family(&three, &four).await;
        world.until_said("one", "a is kept: Kustomization/flux-system/three may contain it").await;
        assert_eq!(world.deletions(), [""; 0], "{three} {four}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_grandchild_is_known_to_want_is_kept_until_it_has_gone() {
    let wants = json!({"status": {"inventory": {"entries": [{"id": "prod_a__ConfigMap", "v": "v1"}]}}});
    let world = family(&wants, &json!({})).await;
    world.until_said("one", "a is kept: Kustomization/flux-system/three contains it").await;
    assert_eq!(world.deletions(), [format!("{ROOT}/two")]);
    world.stop().await;
}
