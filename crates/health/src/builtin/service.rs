//! Service: there at once, unless a load balancer still lacks its cluster address.

use plumb_manifests::Object;

use crate::verdict::Verdict;

pub fn assess(object: &Object) -> Verdict {
    let balances = object.text(&["spec", "type"]) == Some("LoadBalancer");
    if balances && object.text(&["spec", "clusterIP"]).unwrap_or_default().is_empty() {
        return Verdict::in_progress("the load balancer has no cluster IP");
    }
    Verdict::current("the service is there")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verdict::Status;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
    fn check(spec: serde_json::Value, expect: Status) {
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": spec});
        assert_eq!(assess(&Object::new(object).unwrap()).status, expect);
    }

    #[test]
    fn only_a_load_balancer_without_address_is_waited_for() {
        check(json!({}), Status::Current);
        check(json!({"type": "LoadBalancer"}), Status::InProgress);
        check(json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), Status::Current);
    }
}
