//! Foreign edits at a steady rate, and the watch for the correction of each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Config},
    },
};
use serde_json::json;
use tokio::time::{Instant, interval};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::objects::{DESIRED, FIELD, NAMESPACE, map_name};

const POLL: Duration = Duration::from_millis(50);

/// What became of the edits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many edits were made.
    pub made: u64,
    /// How many were corrected.
    pub corrected: u64,
    /// The median time from an edit to its correction.
    pub median: Duration,
    /// The longest time.
    pub longest: Duration,
}

impl Tally {
    /// How many edits are still uncorrected.
    pub fn missed(self) -> u64 {
        self.made - self.corrected
    }
}

/// Makes edits and watches for their correction. Clones share both.
#[derive(Clone)]
pub struct Edits {
    client: Client,
    objects: u32,
    state: Arc<Mutex<State>>,
    _watch: Arc<DropGuard>,
}

#[derive(Default)]
struct State {
    made: u64,
    /// The edits that are not corrected yet, by object.
    open: HashMap<String, Open>,
    times: Vec<Duration>,
}

struct Open {
    value: String,
    since: Instant,
    /// Whether the watch has shown the edit: only what comes after it is a correction.
    shown: bool,
}

impl State {
    fn see(&mut self, name: &str, value: &str, now: Instant) {
        let Some(open) = self.open.get_mut(name) else { return };
        if value == open.value {
            open.shown = true;
        } else if value == DESIRED && open.shown {
            self.times.push(now - open.since);
            self.open.remove(name);
        }
    }

    fn tally(&self) -> Tally {
        let mut times = self.times.clone();
        times.sort_unstable();
        Tally {
            made: self.made,
            corrected: times.len() as u64,
            median: times.get(times.len() / 2).copied().unwrap_or_default(),
            longest: times.last().copied().unwrap_or_default(),
        }
    }
}

impl Edits {
    /// Watches the objects from now on.
    pub async fn start(client: Client, objects: u32) -> Result<Self> {
        let (end, state) = (CancellationToken::new(), Arc::new(Mutex::new(State::default())));
        let edits = Self { client, objects, state, _watch: Arc::new(end.clone().drop_guard()) };
        let (state, api) = (edits.state.clone(), edits.api());
        // Fails early if the objects cannot be read at all.
        api.get(&map_name(0)).await?;
        tokio::spawn(async move {
            let mut seen =
                watcher::watcher(api, Config::default()).default_backoff().applied_objects().boxed();
            loop {
                let next = tokio::select! { () = end.cancelled() => return, next = seen.next() => next };
                // What a watch missed is in the list that follows.
                let Some(Ok(object)) = next else { continue };
                let value = object.data.as_ref().and_then(|data| data.get(FIELD));
                let name = object.metadata.name.unwrap_or_default();
                lock(&state).see(&name, value.map_or("", String::as_str), Instant::now());
            }
        });
        Ok(edits)
    }

    /// Edits one object after the other until the end. An object with an uncorrected edit is skipped.
    pub async fn run(self, rate: u32, end: CancellationToken) -> Result<()> {
        let (api, parameters) = (self.api(), PatchParams::default());
        let mut ticks = interval(Duration::from_secs(1) / rate);
        for number in 0_u64.. {
            tokio::select! { () = end.cancelled() => break, _ = ticks.tick() => {} }
            let name = map_name(u32::try_from(number % u64::from(self.objects))?);
            let value = format!("edit-{number}");
            {
                let mut state = lock(&self.state);
                if state.open.contains_key(&name) {
                    continue;
                }
                state.made += 1;
                let open = Open { value: value.clone(), since: Instant::now(), shown: false };
                state.open.insert(name.clone(), open);
            }
            api.patch(&name, &parameters, &Patch::Merge(json!({"data": {FIELD: value}}))).await?;
        }
        Ok(())
    }

    /// Waits until every edit is corrected, at most this long.
    pub async fn drain(&self, time: Duration) {
        let end = Instant::now() + time;
        while !lock(&self.state).open.is_empty() && Instant::now() < end {
            tokio::time::sleep(POLL).await;
        }
    }

    /// What became of the edits so far.
    pub fn tally(&self) -> Tally {
        lock(&self.state).tally()
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_follows_an_edit_is_its_correction() {
        let mut state = State { made: 1, ..State::default() };
        let since = Instant::now();
        state.open.insert("a".to_owned(), Open { value: "edit-0".to_owned(), since, shown: false });
        state.see("a", DESIRED, since);
        assert_eq!(state.tally().missed(), 1);
        state.see("a", "edit-0", since);
        state.see("b", DESIRED, since);
        assert_eq!(state.tally().missed(), 1);
        state.see("a", DESIRED, since + Duration::from_secs(2));
        assert_eq!((state.tally().missed(), state.tally().longest), (0, Duration::from_secs(2)));
    }
}
