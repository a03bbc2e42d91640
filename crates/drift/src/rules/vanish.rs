//! Vanish: desired objects that are deleted by design after they finish. Their absence is not drift.
//!
//! A metadata watch shows no status, but the entries of `managedFields` show which manager wrote which part of it: so a Job
//! that finished can be distinguished from one that was deleted while it ran.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use plumb_manifests::Object;
use serde_json::Value;

use plumb_planning::fields::FieldPath;
use plumb_planning::managed_fields;

/// The type of Secrets that are removed when they expire.
const BOOTSTRAP_TOKEN: &str = "bootstrap.kubernetes.io/token";

/// Fields of a Job's status that are set when it ends. `conditions` is an atomic list.
const JOB_END: [[&str; 2]; 2] = [["status", "completionTime"], ["status", "conditions"]];

/// Whether a controller of Kubernetes removes an object like this when its time has come: a Job with
/// `ttlSecondsAfterFinished`, a CertificateSigningRequest, an Event, a bootstrap token that has expired.
pub fn may_vanish(desired: &Object, now: Timestamp) -> bool {
    match (desired.group(), desired.kind()) {
        ("batch", "Job") => has_ttl(desired),
        ("certificates.k8s.io", "CertificateSigningRequest") | ("" | "events.k8s.io", "Event") => true,
        ("", "Secret") => {
            desired.text(&["type"]) == Some(BOOTSTRAP_TOKEN)
                && expiration(desired).is_some_and(|at| at <= now)
        }
        _ => false,
    }
}

fn has_ttl(job: &Object) -> bool {
    job.at(&["spec", "ttlSecondsAfterFinished"]).is_some_and(Value::is_number)
}

fn expiration(secret: &Object) -> Option<Timestamp> {
    let text = STANDARD.decode(secret.text(&["data", "expiration"])?).ok()?;
    String::from_utf8(text).ok()?.trim().parse().ok()
}

/// Whether the last metadata of a deleted object shows that it had not finished, such as a running Job. Where the
/// metadata does not show it, it may have.
pub fn was_cut_short(desired: &Object, metadata: &Value) -> bool {
    if (desired.group(), desired.kind()) != ("batch", "Job") || !has_ttl(desired) {
        return false;
    }
    let entries = managed_fields::entries(metadata.get("managedFields"));
    let ended = JOB_END.iter().any(|path| {
        let path = FieldPath::of(path);
        entries.iter().any(|entry| entry.fields.touches(&path))
    });
    !entries.is_empty() && !ended
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use plumb_planning::fixtures::{at, entry, object};

    fn job(spec: &Value) -> Object {
        object(
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "prod"}, "spec": spec}),
        )
    }

    fn token(expiration: &str) -> Object {
        object(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t"}, "type": BOOTSTRAP_TOKEN,
            "data": {"expiration": STANDARD.encode(expiration)},
        }))
    }

    #[test]
    fn only_what_a_controller_removes_by_itself_may_vanish() {
        assert!(may_vanish(&job(&json!({"ttlSecondsAfterFinished": 0})), at(0)));
        assert!(!may_vanish(&job(&json!({})), at(0)));
        assert!(!may_vanish(&job(&json!({"ttlSecondsAfterFinished": null})), at(0)));
        assert!(may_vanish(&token("2026-05-01T12:00:00Z"), at(0)));
        assert!(!may_vanish(&token("2026-05-01T12:00:01Z"), at(0)));
        assert!(!may_vanish(&token("soon"), at(0)));
        let kind = |api: &str, kind: &str| {
            may_vanish(&object(json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}})), at(0))
        };
        assert!(kind("certificates.k8s.io/v1", "CertificateSigningRequest"));
        assert!(!kind("v1", "ConfigMap") && !kind("example.com/v1", "Job") && !kind("v1", "Secret"));
    }

    #[test]
    fn a_job_that_was_deleted_before_it_ended_was_cut_short() {
        let job = job(&json!({"ttlSecondsAfterFinished": 0}));
        let status = |fields: &Value| {
            let ours =
                entry("kustomize-controller", "Apply", "", Some(0), &json!({"f:spec": {"f:template": {}}}));
            let theirs =
                entry("kube-controller-manager", "Update", "status", Some(1), &json!({"f:status": fields}));
            json!({"managedFields": [ours, theirs]})
        };
        assert!(was_cut_short(&job, &status(&json!({"f:active": {}, "f:startTime": {}}))));
        assert!(!was_cut_short(&job, &status(&json!({"f:completionTime": {}, "f:conditions": {}}))));
        assert!(!was_cut_short(&job, &status(&json!({"f:conditions": {}, "f:failed": {}}))), "it failed");
        assert!(!was_cut_short(&job, &json!({})), "nothing is known");
        let settings = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}));
        assert!(!was_cut_short(&settings, &status(&json!({}))));
    }
}
