//! Lists that Kubernetes merges today, up to 1.36, and that are not in the schema of Kubernetes 1.21. kustomize replaces
//! them, where the API server and `kubectl patch` add to them. Lists of a status are left out: they are never applied.

/// The field that identifies the items of such a list, by the definition that contains the list.
pub(crate) fn of_definition(definition: &str, field: &str) -> Option<&'static str> {
    match (definition, field) {
        ("core.v1.PodSpec", "resourceClaims" | "schedulingGates") => Some("name"),
        _ => None,
    }
}

/// The same for kinds that the old schema does not contain, or not below a list: by the path of fields.
pub(crate) fn of_kind(group: &str, kind: &str, way: &[&str]) -> Option<&'static str> {
    match (group, kind, way) {
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
            ["webhooks", "matchConditions"],
        )
        | (
            "admissionregistration.k8s.io",
            "MutatingAdmissionPolicy" | "ValidatingAdmissionPolicy",
            ["spec", "matchConditions"],
        )
        | ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", ["spec", "variables"]) => {
            Some("name")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    /// Once kustomize supports them, they are removed here.
    #[test]
    fn the_built_in_schema_contains_none_of_them() {
        let schema = Schema::builtin();
        for field in ["resourceClaims", "schedulingGates"] {
            assert!(of_definition("core.v1.PodSpec", field).is_some());
            let pod = crate::schema::Spot::of(Some("core.v1.PodSpec"));
            assert!(schema.field(pod, field).is_none(), "{field}");
        }
    }
}
