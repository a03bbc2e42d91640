//! Validates a spec, before anything is fetched: fields that are set and not supported are rejected by name, all at once. Pure.

use plumb_api::kustomize::{
    CrossNamespaceSourceReference, DeletionPolicy, DependencyReference, DriftMode, Kustomization,
    KustomizationSpec, PostBuild, SourceKind, SubstituteKind, SubstituteReference,
};
use plumb_api::meta::NamespacedObjectKindReference;
use plumb_apply::Target;
use plumb_cluster::NamespacedName;
use plumb_manifests::ObjectId;
use plumb_status::{UnsupportedField, UnsupportedFields};

use super::error::KustomizationError;
use crate::source_ref::SourceRef;

/// The API version of a health check that names none, as Flux has it.
const HEALTH_CHECK_API: &str = "apps/v1";

/// A spec that can be honoured. What only the rendering reads stays in the spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Valid {
    /// The source.
    pub source: SourceRef,
    /// The source, as messages name it.
    pub source_ref: String,
    /// What must come first.
    pub depends_on: Vec<NamespacedName>,
    /// Whether all objects are waited for.
    pub wait: bool,
    /// Further objects that are waited for; not read if all are.
    pub health_checks: Vec<Target>,
    /// What is done about drift.
    pub mode: DriftMode,
}

/// What the controller allows a spec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether references to other namespaces are refused.
    pub no_cross_namespace_refs: bool,
    /// Whether ExternalArtifacts can be sources.
    pub external_artifacts: bool,
}

/// Looks at every field of the spec.
pub fn validate(object: &Kustomization, rules: Rules) -> Result<Valid, KustomizationError> {
    let own = object.metadata.namespace.clone().unwrap_or_default();
    let KustomizationSpec {
        build_metadata: _,
        common_metadata: _,
        components: _,
        decryption,
        deletion_policy,
        depends_on,
        drift_detection: _,
        force,
        health_check_exprs,
        health_checks,
        ignore,
        ignore_missing_components: _,
        images: _,
        interval: _,
        kube_config,
        name_prefix: _,
        name_suffix: _,
        patches: _,
        path: _,
        post_build,
        prune: _,
        retry_interval: _,
        service_account_name,
        source_ref,
        suspend: _,
        target_namespace: _,
        timeout: _,
        wait,
    } = &object.spec;
    let mut fields = Vec::new();
    for (is_set, field) in [
        (decryption.is_some(), "spec.decryption"),
        (*force, "spec.force"),
        (!health_check_exprs.is_empty(), "spec.healthCheckExprs"),
        (!ignore.is_empty(), "spec.ignore"),
        (kube_config.is_some(), "spec.kubeConfig"),
        (service_account_name.as_ref().is_some_and(|name| !name.is_empty()), "spec.serviceAccountName"),
    ] {
        if is_set {
            fields.push(UnsupportedField::new(field));
        }
    }
    if *deletion_policy == Some(DeletionPolicy::WaitForTermination) {
        fields.push(UnsupportedField::with_value("spec.deletionPolicy", "WaitForTermination"));
    }
    unsupported_variables(post_build.as_ref(), &mut fields);
    unsupported_references(depends_on, &mut fields);
    UnsupportedFields::reject(fields)?;
    if source_ref.kind == SourceKind::ExternalArtifact && !rules.external_artifacts {
        return Err(KustomizationError::ExternalArtifactDisabled { name: source_ref.name.clone() });
    }
    let references = References { own: &own, no_cross_namespace_refs: rules.no_cross_namespace_refs };
    let (source, source_ref) = source(source_ref, references)?;
    Ok(Valid {
        source,
        source_ref,
        depends_on: dependencies(depends_on, references)?,
        wait: *wait,
        health_checks: targets(health_checks, references)?,
        mode: object.drift_mode()?,
    })
}

fn unsupported_variables(post_build: Option<&PostBuild>, fields: &mut Vec<UnsupportedField>) {
    let Some(PostBuild { substitute: _, substitute_from, substitute_strategy }) = post_build else { return };
    // Until what a Secret brings into other objects is kept out of events and statuses.
    let of_secret = |reference: &SubstituteReference| reference.kind == SubstituteKind::Secret;
    for (at, _) in substitute_from.iter().enumerate().filter(|(_, reference)| of_secret(reference)) {
        let field =
            UnsupportedField::with_value(format!("spec.postBuild.substituteFrom[{at}].kind"), "Secret");
        fields.push(field.remedy("use a ConfigMap"));
    }
    if substitute_strategy.is_some() {
        fields.push(UnsupportedField::new("spec.postBuild.substituteStrategy"));
    }
}

fn unsupported_references(depends_on: &[DependencyReference], fields: &mut Vec<UnsupportedField>) {
    for (at, dependency) in depends_on.iter().enumerate() {
        if dependency.ready_expr.as_ref().is_some_and(|text| !text.is_empty()) {
            fields.push(UnsupportedField::new(format!("spec.dependsOn[{at}].readyExpr")));
        }
    }
}

/// The only way from a reference of a spec to the object that it names.
#[derive(Debug, Clone, Copy)]
struct References<'a> {
    /// The namespace of the Kustomization.
    own: &'a str,
    /// Whether references to other namespaces are refused.
    no_cross_namespace_refs: bool,
}

impl References<'_> {
    fn resolve(
        self,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<NamespacedName, KustomizationError> {
        let namespace = namespace.filter(|namespace| !namespace.is_empty()).unwrap_or(self.own);
        let key = NamespacedName::new(namespace, name);
        if self.no_cross_namespace_refs && key.namespace != self.own {
            return Err(KustomizationError::CrossNamespace { object: format!("{kind}/{key}") });
        }
        Ok(key)
    }
}

/// The source, and how messages name it.
fn source(
    reference: &CrossNamespaceSourceReference,
    references: References<'_>,
) -> Result<(SourceRef, String), KustomizationError> {
    let CrossNamespaceSourceReference { api_version: _, kind, name, namespace } = reference;
    let kind_name = kind.as_str();
    let key = references.resolve(kind_name, namespace.as_deref(), name)?;
    let text = match namespace {
        Some(namespace) => format!("{kind_name}/{namespace}/{name}"),
        None => format!("{kind_name}/{name}"),
    };
    Ok((SourceRef::new(*kind, key), text))
}

fn dependencies(
    depends_on: &[DependencyReference],
    references: References<'_>,
) -> Result<Vec<NamespacedName>, KustomizationError> {
    let mut keys = Vec::with_capacity(depends_on.len());
    for DependencyReference { name, namespace, ready_expr: _ } in depends_on {
        keys.push(references.resolve("Kustomization", namespace.as_deref(), name)?);
    }
    Ok(keys)
}

fn targets(
    checks: &[NamespacedObjectKindReference],
    references: References<'_>,
) -> Result<Vec<Target>, KustomizationError> {
    let mut targets = Vec::with_capacity(checks.len());
    for (at, NamespacedObjectKindReference { api_version, kind, name, namespace }) in
        checks.iter().enumerate()
    {
        let api_version = api_version.as_deref().filter(|text| !text.is_empty()).unwrap_or(HEALTH_CHECK_API);
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if version.is_empty() || version.contains('/') {
            let problem = format!("{api_version:?} is not of the form group/version");
            return Err(KustomizationError::InvalidField {
                field: format!("spec.healthChecks[{at}].apiVersion"),
                problem,
            });
        }
        let key = references.resolve(kind, namespace.as_deref(), name)?;
        let id = ObjectId {
            namespace: key.namespace,
            name: key.name,
            group: group.to_owned(),
            kind: kind.clone(),
        };
        targets.push(Target { id, version: version.to_owned() });
    }
    Ok(targets)
}

#[cfg(test)]
mod tests;
