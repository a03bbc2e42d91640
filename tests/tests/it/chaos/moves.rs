//! Objects move between two Kustomizations by one commit, again and again: they stay the same objects, whichever is
//! reconciled first.

use anyhow::{Result, ensure};
use plumb_testkit::{controllers::SOURCE, repository::Repository};
use serde_json::{Value, json};

use super::is_whole;
use crate::e2e::{
    environment::Environment,
    sample::config_map,
    seen::{self, inventory, is_ready, uid},
};

/// How often they move, and how often in a sample.
const MOVES: usize = 100;
const MOVES_IN_SAMPLE: usize = 6;
/// What moves, and the two owners in turn.
const MAPS: [&str; 2] = ["alpha", "beta"];
const OWNERS: [&str; 2] = ["one", "two"];
const OWNER: &str = "/metadata/labels/kustomize.toolkit.fluxcd.io~1name";

/// The one that is reconciled first.
#[derive(Clone, Copy, Debug)]
enum First {
    /// Both at once.
    Either,
    /// The other one is suspended until the commit is applied.
    OldOwner,
    NewOwner,
}

const ORDERS: [First; 3] = [First::Either, First::OldOwner, First::NewOwner];

async fn uids(environment: &Environment) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for name in MAPS {
        all.push(uid(&environment.get("ConfigMap", name).await?).to_owned());
    }
    Ok(all)
}

async fn suspend(environment: &Environment, name: &str, suspended: bool) -> Result<()> {
    environment.edit("Kustomization", name, &json!({"spec": {"suspend": suspended}})).await.map(drop)
}

/// One commit takes the objects from one folder to the other. Ends when the new owner has them and the old one has not.
async fn shift(
    environment: &Environment,
    repository: &Repository,
    from: &str,
    to: &str,
    first: First,
) -> Result<()> {
    let held = match first {
        First::Either => None,
        First::OldOwner => Some((to, from)),
        First::NewOwner => Some((from, to)),
    };
    if let Some((held, _)) = held {
        suspend(environment, held, true).await?;
    }
    for name in MAPS {
        repository.remove(&format!("{from}/{name}.yaml"))?;
        repository.write(&format!("{to}/{name}.yaml"), &config_map(name, "hello"))?;
    }
    let revision = environment.commit(repository, &format!("from {from} to {to}")).await?;
    if let Some((held, first)) = held {
        environment.applied(first, &revision).await?;
        suspend(environment, held, false).await?;
    }
    for (name, count) in [(from, 1), (to, 1 + MAPS.len())] {
        let what = format!("has {count} objects at {revision}");
        let fits = |seen: &Value| {
            is_ready(seen)
                && seen["status"]["lastAppliedRevision"] == revision
                && inventory(seen).len() == count
        };
        environment.until("Kustomization", name, &what, fits).await?;
    }
    for name in MAPS {
        let what = format!("belongs to {to}");
        environment.until("ConfigMap", name, &what, |seen| seen::text(seen, OWNER) == to).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_move_again_and_again_stay_the_same() -> Result<()> {
    let mut environment = Environment::new("moves").await?;
    let repository = environment.git.repository("app")?;
    for owner in OWNERS {
        let anchor = format!("anchor-{owner}");
        repository.write(&format!("{owner}/{anchor}.yaml"), &config_map(&anchor, "a"))?;
    }
    for name in MAPS {
        repository.write(&format!("one/{name}.yaml"), &config_map(name, "hello"))?;
    }
    repository.push("first")?;
    environment.create(environment.source("app")).await?;
    for owner in OWNERS {
        environment.create(environment.kustomization(owner, &json!({"path": format!("./{owner}")}))).await?;
    }
    let revision = repository.revision()?;
    for owner in OWNERS {
        environment.applied(owner, &revision).await?;
    }
    let before = uids(&environment).await?;
    let moves = if is_whole() { MOVES } else { MOVES_IN_SAMPLE };
    for number in 0..moves {
        let (from, to) = (OWNERS[number % 2], OWNERS[(number + 1) % 2]);
        let first = ORDERS[(number / 2) % ORDERS.len()];
        shift(&environment, &repository, from, to, first).await?;
        let after = uids(&environment).await?;
        ensure!(after == before, "move {number} ({first:?}): {before:?} are now {after:?}");
    }
    ensure!(!environment.controllers.has_ended(SOURCE), "source-controller has ended");
    environment.close().await
}
