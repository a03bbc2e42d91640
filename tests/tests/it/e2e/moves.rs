//! Objects that move between Kustomizations by a commit: they stay the same objects, in every order of reconciliation and whatever
//! is wrong with the new owner.

use anyhow::Result;
use plumb_testkit::repository::Repository;
use serde_json::{Value, json};

use super::{
    environment::Environment,
    sample::config_map,
    seen::{self, inventory, uid},
};

const OWNER: &str = "/metadata/labels/kustomize.toolkit.fluxcd.io~1name";
const MAPS: [&str; 4] = ["m0", "m1", "m2", "m3"];

async fn uids(environment: &Environment) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for name in MAPS {
        all.push(uid(&environment.get("ConfigMap", name).await?).to_owned());
    }
    Ok(all)
}

/// Waits until a Kustomization owns these objects.
async fn owned(environment: &Environment, owner: &str, names: &[&str]) -> Result<()> {
    for name in names {
        let what = format!("belongs to {owner}");
        environment.until("ConfigMap", name, &what, |seen| seen::text(seen, OWNER) == owner).await?;
    }
    Ok(())
}

/// Waits until so many objects are in the inventory of a Kustomization that is Ready.
async fn manages(environment: &Environment, name: &str, count: usize) -> Result<Value> {
    let what = format!("is Ready and has {count} objects");
    let fits = |seen: &Value| seen::is_ready(seen) && inventory(seen).len() == count;
    environment.until("Kustomization", name, &what, fits).await
}

fn place(repository: &Repository, folder: &str, names: &[&str]) -> Result<()> {
    for name in names {
        repository.write(&format!("{folder}/{name}.yaml"), &config_map(name, "hello"))?;
    }
    Ok(())
}

fn take(repository: &Repository, folder: &str, names: &[&str]) -> Result<()> {
    names.iter().try_for_each(|name| repository.remove(&format!("{folder}/{name}.yaml")))
}

/// The manifest of a Kustomization that applies a folder.
fn manifest(environment: &Environment, name: &str, folder: &str) -> String {
    environment.kustomization(name, &json!({"path": format!("./{folder}")})).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_a_merge_and_a_rename_in_git_keep_every_object() -> Result<()> {
    let environment = Environment::new("split").await?;
    let repository = environment.sample("app")?;
    place(&repository, "one", &MAPS)?;
    repository.write("cluster/one.yaml", &manifest(&environment, "one", "one"))?;
    repository.push("one Kustomization")?;
    environment.create(environment.source("app")).await?;
    environment.create(environment.kustomization("root", &json!({"path": "./cluster"}))).await?;
    manages(&environment, "one", 4).await?;
    let before = uids(&environment).await?;

    take(&repository, "one", &MAPS[2..])?;
    place(&repository, "two", &MAPS[2..])?;
    repository.write("cluster/two.yaml", &manifest(&environment, "two", "two"))?;
    environment.commit(&repository, "split").await?;
    owned(&environment, "two", &MAPS[2..]).await?;
    manages(&environment, "one", 2).await?;
    manages(&environment, "two", 2).await?;
    assert_eq!(uids(&environment).await?, before, "split");

    take(&repository, "two", &MAPS[2..])?;
    place(&repository, "one", &MAPS[2..])?;
    repository.remove("cluster/two.yaml")?;
    environment.commit(&repository, "merge").await?;
    owned(&environment, "one", &MAPS).await?;
    environment.gone("Kustomization", "two").await?;
    manages(&environment, "one", 4).await?;
    assert_eq!(uids(&environment).await?, before, "merge");

    repository.remove("cluster/one.yaml")?;
    repository.write("cluster/renamed.yaml", &manifest(&environment, "renamed", "one"))?;
    let last = environment.commit(&repository, "rename").await?;
    environment.gone("Kustomization", "one").await?;
    owned(&environment, "renamed", &MAPS).await?;
    manages(&environment, "renamed", 4).await?;
    environment.applied("root", &last).await?;
    assert_eq!(uids(&environment).await?, before, "rename");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_moves_survives_either_order_and_a_new_owner_that_is_suspended_or_fails() -> Result<()>
{
    let environment = Environment::new("handover").await?;
    let repository = environment.sample("app")?;
    place(&repository, "one", &MAPS)?;
    place(&repository, "one", &["left"])?;
    place(&repository, "two", &["other"])?;
    repository.push("two Kustomizations")?;
    environment.create(environment.source("app")).await?;
    for name in ["one", "two"] {
        environment.create(environment.kustomization(name, &json!({"path": format!("./{name}")}))).await?;
    }
    manages(&environment, "one", 5).await?;
    manages(&environment, "two", 1).await?;
    let before = uids(&environment).await?;
    let suspend = |suspended: bool| json!({"spec": {"suspend": suspended}});
    let shift =
        |names: &[&str]| take(&repository, "one", names).and_then(|()| place(&repository, "two", names));

    // The old owner first: the new one is suspended.
    environment.edit("Kustomization", "two", &suspend(true)).await?;
    shift(&["m0"])?;
    let second = environment.commit(&repository, "m0 moves").await?;
    let held = environment.applied("one", &second).await?;
    assert!(seen::message(&held, "Ready").contains("/m0 is kept: Kustomization/"), "{held:#}");
    assert_eq!(inventory(&held).len(), 5);
    environment.reported("PruneHeld", &["m0", "two"]).await?;
    environment.edit("Kustomization", "two", &suspend(false)).await?;
    owned(&environment, "two", &["m0"]).await?;
    manages(&environment, "one", 4).await?;

    // The new owner first.
    environment.edit("Kustomization", "one", &suspend(true)).await?;
    shift(&["m1"])?;
    let third = environment.commit(&repository, "m1 moves").await?;
    environment.applied("two", &third).await?;
    owned(&environment, "two", &["m1"]).await?;
    environment.edit("Kustomization", "one", &suspend(false)).await?;
    manages(&environment, "one", 3).await?;

    // The new owner cannot be built.
    shift(&["m2"])?;
    repository.write("two/broken.yaml", "a: [b")?;
    let fourth = environment.commit(&repository, "m2 moves to a folder that is broken").await?;
    environment.failed("two", "BuildFailed").await?;
    let held = environment.applied("one", &fourth).await?;
    assert!(seen::message(&held, "Ready").contains("/m2 is kept: Kustomization/"), "{held:#}");
    repository.remove("two/broken.yaml")?;
    environment.commit(&repository, "mended").await?;
    owned(&environment, "two", &["m2"]).await?;
    manages(&environment, "one", 2).await?;

    assert_eq!(uids(&environment).await?, before);
    // Objects without a claim are still deleted.
    take(&repository, "one", &["m3"])?;
    environment.commit(&repository, "m3 goes").await?;
    environment.gone("ConfigMap", "m3").await?;
    environment.close().await
}
