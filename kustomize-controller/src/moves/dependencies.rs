//! Chains of dependencies, and a dependency that is deleted.

use super::*;

/// How many Kustomizations a chain has. Each would wait 30 s (`--requeue-dependency`) for the one before it if that did
/// not wake it; all of them together have [`PATIENCE`].
const CHAIN: usize = 50;

fn on(name: &str) -> Value {
    json!({"spec": {"dependsOn": [{"name": name}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_fifty_is_applied_link_by_link_without_waiting_for_a_requeue() {
    let name = |at: usize| format!("k{at:02}");
    let edit = |at: usize| if at == 0 { json!({}) } else { on(&name(at - 1)) };
    let all: Vec<Value> = (0..CHAIN).map(|at| kustomization(&name(at), &edit(at))).collect();
    let paths: Vec<String> = (0..CHAIN).map(|at| format!("{}/m{at:02}.yaml", name(at))).collect();
    let files = maps(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let world = World::start(&files, &all).await;
    world.until_applied(&name(CHAIN - 1), REVISION).await;
    // A new revision goes the same way.
    world.publish(&files, NEXT);
    world.until_applied(&name(CHAIN - 1), NEXT).await;
    for at in 0..CHAIN {
        world.until_applied(&name(at), NEXT).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_that_is_deleted_is_named_and_takes_nothing_along() {
    let world = two(&json!({}), &on("one")).await;
    world.until_applied("two", REVISION).await;
    world.edit("one", &json!({"metadata": {"deletionTimestamp": "2026-11-25T06:30:00Z"}}));
    let path = format!("{ROOT}/one");
    world.until("it is gone", |world| world.get(&path) == Value::Null).await;
    world.kustomizations.send("DELETED", &kustomization("one", &json!({})));
    world.publish(&maps(&["one/a.yaml", "two/z.yaml", "two/y.yaml"]), NEXT);
    world.until_said("two", "dependency 'flux-system/one' not found").await;
    assert_eq!((world.owner("z"), world.map("y")), ("two".to_owned(), Value::Null));
    // It comes back: whoever waits for it is woken.
    world.add(&kustomization("one", &json!({"metadata": {"uid": "another", "resourceVersion": "100"}})));
    world.until_applied("two", NEXT).await;
    assert_eq!(world.owner("y"), "two");
    world.stop().await;
}
