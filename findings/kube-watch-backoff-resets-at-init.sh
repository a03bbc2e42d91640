#!/usr/bin/env bash
# kube 5.0.0 (crates.io): a watch whose list is refused never backs off. `watcher(…).backoff(b)` resets `b` at every event, and each try
# begins with the event `Init`, before the list is requested.
# Guessed: a backoff of 1, 2, 4, 8 … seconds gives pauses of 1, 2, 4, 8 … seconds while the API server answers each list with 403.
# Seen: each pause is 1 second.
# Meant for: whoever watches kinds that may be forbidden or not served. Wait yourself after an `Err` (the stream goes on when it is polled
# again), or pass a Backoff whose `reset` does nothing and that forgets failures by time.
set -euo pipefail
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && cd "$dir"
cargo init --quiet --vcs none --name finding .
cargo add --quiet kube@=5.0.0 --no-default-features --features client,runtime
cargo add --quiet k8s-openapi@=0.29.0 --features v1_33
cargo add --quiet tokio@1 --features full,test-util
cargo add --quiet tower@0.5 --features util
cargo add --quiet http@1 futures@0.3
cat > src/main.rs <<'RUST'
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use kube::runtime::{WatchStreamExt as _, utils::Backoff, watcher};
use kube::{Api, Client};

/// 1, 2, 4, 8 … seconds.
#[derive(Default)]
struct Doubling(u32);

impl Iterator for Doubling {
    type Item = Duration;
    fn next(&mut self) -> Option<Duration> {
        self.0 += 1;
        Some(Duration::from_secs(1 << (self.0 - 1)))
    }
}

impl Backoff for Doubling {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    let refuse = tower::service_fn(|_: http::Request<Body>| async {
        let status = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"Forbidden","code":403}"#;
        Ok::<_, std::convert::Infallible>(http::Response::builder().status(403).body(Body::from(status.as_bytes().to_vec())).unwrap())
    });
    let maps: Api<ConfigMap> = Api::namespaced(Client::new(refuse, "default"), "default");
    let mut events = watcher(maps, watcher::Config::default()).backoff(Doubling::default()).boxed();
    let began = tokio::time::Instant::now();
    for _ in 0..10 {
        let event = events.next().await.unwrap();
        let what = match &event {
            Ok(watcher::Event::Init) => "Init",
            Ok(_) => "another event",
            Err(_) => "error",
        };
        println!("{} s: {what}", began.elapsed().as_secs());
    }
}
RUST
cargo run --quiet > seen
cat > expected <<'TEXT'
0 s: Init
0 s: error
1 s: Init
1 s: error
2 s: Init
2 s: error
3 s: Init
3 s: error
4 s: Init
4 s: error
TEXT
cat seen
diff expected seen
