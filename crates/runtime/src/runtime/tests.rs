//! Which of a runtime's clients may write.

use clap::Parser;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use plumb_testkit::scenario::{Answer, Scenario};
use serde_json::json;

use super::*;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
}

const IDENTITY: Identity = Identity { controller: "c", status_manager: "c", concurrent: 1 };

async fn writes(client: Client) -> bool {
    let maps: Api<ConfigMap> = Api::namespaced(client, "apps");
    maps.patch("settings", &PatchParams::default(), &Patch::Merge(json!({}))).await.is_ok()
}

#[tokio::test]
async fn a_replica_that_does_not_lead_writes_nothing_but_for_webhooks() {
    for (args, may_write) in [(&["c", "--enable-leader-election"][..], false), (&["c"], true)] {
        let api = Scenario::new();
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" } });
        api.on("PATCH", "/api/v1/namespaces/apps/configmaps/settings", Answer::ok(map));
        let common = Options::try_parse_from(args).unwrap().common;
        let runtime = Runtime::new(IDENTITY, api.client(), Clock::system(), common, None);
        assert_eq!(writes(runtime.client()).await, may_write, "{args:?}");
        assert!(writes(runtime.unfenced_client()).await);
    }
}

#[test]
fn times_that_would_let_two_replicas_write_are_rejected() {
    let check = |args: &[&str]| {
        let all = ["c", "--enable-leader-election"].iter().chain(args);
        Options::try_parse_from(all).unwrap().common.validate(&[]).is_ok()
    };
    assert!(check(&[]));
    assert!(!check(&["--leader-election-lease-duration=30s"]));
    assert!(!check(&["--leader-election-renew-deadline=5s"]));
    assert!(!check(&["--leader-election-retry-period=0s"]));
}
