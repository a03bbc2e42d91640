//! Watches that reconnect after an error: at once after an outage has ended, else after a pause.

use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event};

use crate::outage::{OutageEnds, Outages};
use crate::pauses::Pauses;

/// An item of a watch: an event, or an error after which it continues.
pub type WatchResult<K> = Result<Event<K>, watcher::Error>;

struct Resumed<K> {
    events: BoxStream<'static, WatchResult<K>>,
    ends: OutageEnds,
    pauses: Pauses,
    /// Before the watch continues.
    pause: Option<Duration>,
}

/// The events of one of kube's watchers. After each error it waits before it continues: until the outage has ended, or until
/// a pause has passed that grows from 800 milliseconds to 10 seconds, or to 30 where the API server rejects the watch.
pub fn resumed<K: Send + 'static>(
    events: impl Stream<Item = WatchResult<K>> + Send + 'static,
    outages: &Outages,
) -> BoxStream<'static, WatchResult<K>> {
    let resumed =
        Resumed { events: events.boxed(), ends: outages.ends(), pauses: Pauses::default(), pause: None };
    stream::unfold(resumed, |mut resumed| async move {
        if let Some(pause) = resumed.pause {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = resumed.ends.next() => {}
            }
            resumed.pause = None;
        }
        let event = resumed.events.next().await?;
        resumed.pause = event.as_ref().err().map(|error| resumed.pauses.after(error));
        Some((event, resumed))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, Client};
    use plumb_testkit::scenario::{Response, Scenario};
    use tokio::time::Instant;

    use super::*;
    use crate::outage::OUTAGE_MIN;

    const MAPS: &str = "/api/v1/namespaces/apps/configmaps";

    fn watch(client: Client, outages: &Outages) -> BoxStream<'static, WatchResult<ConfigMap>> {
        let api: Api<ConfigMap> = Api::namespaced(client, "apps");
        resumed(watcher::watcher(api, watcher::Config::default()), outages)
    }

    async fn errors(events: &mut BoxStream<'static, WatchResult<ConfigMap>>, count: usize) {
        let mut seen = 0;
        while seen < count {
            seen += usize::from(events.next().await.unwrap().is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_list_is_not_retried_at_once() {
        let api = Scenario::new();
        api.on("GET", MAPS, Response::status(503, "ServiceUnavailable", "away"));
        let mut events = watch(api.client(), &Outages::default());
        let _ = tokio::time::timeout(Duration::from_mins(1), errors(&mut events, usize::MAX)).await;
        assert!((8..12).contains(&api.calls().len()), "{} requests in a minute", api.calls().len());
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_outage_a_watch_continues_at_once() {
        let api = Scenario::new();
        api.on("GET", MAPS, Response::status(503, "ServiceUnavailable", "away"));
        api.on("GET", "/version", Response::ok(serde_json::json!({})));
        let outages = Outages::default();
        let client = outages.observe(api.client());
        let mut events = watch(client.clone(), &outages);
        // The pause after the sixth is longer than those before.
        errors(&mut events, 6).await;
        tokio::time::sleep(OUTAGE_MIN).await;
        let began = Instant::now();
        let request = http::Request::get("/version").body(kube::client::Body::empty()).unwrap();
        client.send(request).await.unwrap();
        errors(&mut events, 1).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
