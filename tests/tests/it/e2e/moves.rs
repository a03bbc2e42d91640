//! Objects that move between Kustomizations by a commit: they stay the same objects, whoever is reconciled first and whatever
//! is wrong with the new owner.

use anyhow::Result;
use plumb_testkit::repository::Repository;
use serde_json::{Value, json};

use super::{
    cluster::Stand,
    sample::config_map,
    seen::{self, inventory, uid},
};

const OWNER: &str = "/metadata/labels/kustomize.toolkit.fluxcd.io~1name";
const MAPS: [&str; 4] = ["m0", "m1", "m2", "m3"];

async fn uids(stand: &Stand) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for name in MAPS {
        all.push(uid(&stand.get("ConfigMap", name).await?).to_owned());
    }
    Ok(all)
}

/// Waits until a Kustomization owns these objects.
async fn owned(stand: &Stand, owner: &str, names: &[&str]) -> Result<()> {
    for name in names {
        let what = format!("belongs to {owner}");
        stand.until("ConfigMap", name, &what, |seen| seen::text(seen, OWNER) == owner).await?;
    }
    Ok(())
}

/// Waits until so many objects are in the inventory of a Kustomization that is Ready.
async fn answers_for(stand: &Stand, name: &str, count: usize) -> Result<Value> {
    let what = format!("is Ready and has {count} objects");
    let fits = |seen: &Value| seen::is_ready(seen) && inventory(seen).len() == count;
    stand.until("Kustomization", name, &what, fits).await
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
fn manifest(stand: &Stand, name: &str, folder: &str) -> String {
    stand.kustomization(name, &json!({"path": format!("./{folder}")})).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_a_merge_and_a_rename_in_git_keep_every_object() -> Result<()> {
    let stand = Stand::new("split").await?;
    let repository = stand.sample("app")?;
    place(&repository, "one", &MAPS)?;
    repository.write("cluster/one.yaml", &manifest(&stand, "one", "one"))?;
    repository.push("one Kustomization")?;
    stand.create(stand.source("app")).await?;
    stand.create(stand.kustomization("root", &json!({"path": "./cluster"}))).await?;
    answers_for(&stand, "one", 4).await?;
    let before = uids(&stand).await?;

    take(&repository, "one", &MAPS[2..])?;
    place(&repository, "two", &MAPS[2..])?;
    repository.write("cluster/two.yaml", &manifest(&stand, "two", "two"))?;
    stand.commit(&repository, "split").await?;
    owned(&stand, "two", &MAPS[2..]).await?;
    answers_for(&stand, "one", 2).await?;
    answers_for(&stand, "two", 2).await?;
    assert_eq!(uids(&stand).await?, before, "split");

    take(&repository, "two", &MAPS[2..])?;
    place(&repository, "one", &MAPS[2..])?;
    repository.remove("cluster/two.yaml")?;
    stand.commit(&repository, "merge").await?;
    owned(&stand, "one", &MAPS).await?;
    stand.gone("Kustomization", "two").await?;
    answers_for(&stand, "one", 4).await?;
    assert_eq!(uids(&stand).await?, before, "merge");

    repository.remove("cluster/one.yaml")?;
    repository.write("cluster/renamed.yaml", &manifest(&stand, "renamed", "one"))?;
    let last = stand.commit(&repository, "rename").await?;
    stand.gone("Kustomization", "one").await?;
    owned(&stand, "renamed", &MAPS).await?;
    answers_for(&stand, "renamed", 4).await?;
    stand.applied("root", &last).await?;
    assert_eq!(uids(&stand).await?, before, "rename");
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_moves_survives_either_order_and_a_new_owner_that_is_suspended_or_fails() -> Result<()>
{
    let stand = Stand::new("handover").await?;
    let repository = stand.sample("app")?;
    place(&repository, "one", &MAPS)?;
    place(&repository, "one", &["left"])?;
    place(&repository, "two", &["other"])?;
    repository.push("two Kustomizations")?;
    stand.create(stand.source("app")).await?;
    for name in ["one", "two"] {
        stand.create(stand.kustomization(name, &json!({"path": format!("./{name}")}))).await?;
    }
    answers_for(&stand, "one", 5).await?;
    answers_for(&stand, "two", 1).await?;
    let before = uids(&stand).await?;
    let suspend = |suspended: bool| json!({"spec": {"suspend": suspended}});
    let shift =
        |names: &[&str]| take(&repository, "one", names).and_then(|()| place(&repository, "two", names));

    // The old owner first: the new one is suspended.
    stand.edit("Kustomization", "two", &suspend(true)).await?;
    shift(&["m0"])?;
    let second = stand.commit(&repository, "m0 moves").await?;
    let held = stand.applied("one", &second).await?;
    assert!(seen::message(&held, "Ready").contains("/m0 is kept: Kustomization/"), "{held:#}");
    assert_eq!(inventory(&held).len(), 5);
    stand.told("PruneHeld", &["m0", "two"]).await?;
    stand.edit("Kustomization", "two", &suspend(false)).await?;
    owned(&stand, "two", &["m0"]).await?;
    answers_for(&stand, "one", 4).await?;

    // The new owner first.
    stand.edit("Kustomization", "one", &suspend(true)).await?;
    shift(&["m1"])?;
    let third = stand.commit(&repository, "m1 moves").await?;
    stand.applied("two", &third).await?;
    owned(&stand, "two", &["m1"]).await?;
    stand.edit("Kustomization", "one", &suspend(false)).await?;
    answers_for(&stand, "one", 3).await?;

    // The new owner cannot be built.
    shift(&["m2"])?;
    repository.write("two/broken.yaml", "a: [b")?;
    let fourth = stand.commit(&repository, "m2 moves to a folder that is broken").await?;
    stand.failed("two", "BuildFailed").await?;
    let held = stand.applied("one", &fourth).await?;
    assert!(seen::message(&held, "Ready").contains("/m2 is kept: Kustomization/"), "{held:#}");
    repository.remove("two/broken.yaml")?;
    stand.commit(&repository, "mended").await?;
    owned(&stand, "two", &["m2"]).await?;
    answers_for(&stand, "one", 2).await?;

    assert_eq!(uids(&stand).await?, before);
    // What nobody wants still goes.
    take(&repository, "one", &["m3"])?;
    stand.commit(&repository, "m3 goes").await?;
    stand.gone("ConfigMap", "m3").await?;
    stand.close().await
}
