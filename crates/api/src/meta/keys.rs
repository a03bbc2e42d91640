//! The names of labels, annotations, finalizers, field managers and API groups that tools match on. Reading them
//! from an object never enters.

/// The API group and version of the sources.
pub const SOURCE_API_VERSION: &str = "source.toolkit.fluxcd.io/v1";
/// The API group and version of Kustomization.
pub const KUSTOMIZE_API_VERSION: &str = "kustomize.toolkit.fluxcd.io/v1";
/// The API group and version of Receiver.
pub const RECEIVER_API_VERSION: &str = "notification.toolkit.fluxcd.io/v1";
/// The API group and version of Alert and Provider.
pub const ALERT_API_VERSION: &str = "notification.toolkit.fluxcd.io/v1beta3";

/// The finalizer of every kind that is reconciled.
pub const FINALIZER: &str = "finalizers.fluxcd.io";

/// Annotation on any object: a change of its value asks for a reconciliation.
pub const RECONCILE_REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Label on a ConfigMap or Secret: a change of it wakes the objects that refer to it.
pub const RECONCILE_WATCH: &str = "reconcile.fluxcd.io/watch";
/// The value that switches [`RECONCILE_WATCH`] on.
pub const WATCH_ENABLED: &str = "Enabled";

/// Label on every applied object: the name of the Kustomization that owns it.
pub const OWNER_NAME_LABEL: &str = "kustomize.toolkit.fluxcd.io/name";
/// Label on every applied object: the namespace of the Kustomization that owns it.
pub const OWNER_NAMESPACE_LABEL: &str = "kustomize.toolkit.fluxcd.io/namespace";

/// On a managed object, value `disabled`: it is neither applied nor pruned.
pub const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
/// On a managed object: how it is applied (`Override`, `Merge`, `IfNotPresent`, `Ignore`).
pub const SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";
/// On a managed object, value `Enabled`: it is recreated where a field cannot be changed.
pub const FORCE: &str = "kustomize.toolkit.fluxcd.io/force";
/// On a managed object, value `disabled`: it is never pruned.
pub const PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";
/// On a managed object, value `disabled`: no variables are substituted in it.
pub const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
/// On a managed object, value `disabled`: it is not decrypted.
pub const DECRYPT: &str = "kustomize.toolkit.fluxcd.io/decrypt";
/// The value that switches most of the above off, compared without regard to case.
pub const DISABLED: &str = "disabled";
/// The value that switches [`FORCE`] on, compared without regard to case.
pub const ENABLED: &str = "enabled";

/// Ours, on a Kustomization or a managed object: the mode of drift detection.
pub const DRIFT_DETECTION: &str = "kustomize.toolkit.fluxcd.io/drift-detection";
/// Ours, on a Kustomization: a changed value restores drifted objects once.
pub const RESTORE: &str = "kustomize.toolkit.fluxcd.io/restore";
/// Ours, on a Kustomization: `true` lets a rendering without objects prune everything.
pub const ALLOW_EMPTY: &str = "kustomize.toolkit.fluxcd.io/allow-empty";

/// What the keys of event metadata begin with that any object may carry as annotations.
pub const EVENT_PREFIX: &str = "event.toolkit.fluxcd.io/";
/// Event metadata of a Kustomization or source: the group that is put before `/revision` and the like.
pub const KUSTOMIZE_GROUP: &str = "kustomize.toolkit.fluxcd.io";
/// The group of the sources.
pub const SOURCE_GROUP: &str = "source.toolkit.fluxcd.io";
/// The group of Alert, Provider and Receiver.
pub const NOTIFICATION_GROUP: &str = "notification.toolkit.fluxcd.io";
/// Key of event metadata, after its group: the revision.
pub const REVISION_KEY: &str = "revision";
/// Key of event metadata, after its group: the revision that the artifact was made from.
pub const ORIGIN_REVISION_KEY: &str = "originRevision";
/// Key of event metadata, after its group: the digest.
pub const DIGEST_KEY: &str = "digest";
/// Key of event metadata, after its group: asks for a commit status.
pub const COMMIT_STATUS_KEY: &str = "commit_status";
/// The value of [`COMMIT_STATUS_KEY`].
pub const COMMIT_STATUS_UPDATE: &str = "update";
/// Metadata of an artifact: the revision of what it was made from.
pub const ORIGIN_REVISION_METADATA: &str = "org.opencontainers.image.revision";
/// Ours, metadata of the artifact of a HelmChart: which chart of which source it is, `HelmRepository/podinfo/podinfo`.
pub const CHART_SOURCE_METADATA: &str = "source.toolkit.fluxcd.io/chart-source";
/// Ours, metadata of the artifact of a HelmChart: the digest of the manifest whose signature was verified.
pub const VERIFIED_DIGEST_METADATA: &str = "source.toolkit.fluxcd.io/verified-digest";
/// Ours, metadata of an artifact: digests of its directories, by which a consumer knows that its own did not change.
pub const DIRECTORY_DIGESTS_METADATA: &str = "source.toolkit.fluxcd.io/directory-digests";

/// Label on any object: which shard of the controllers looks after it.
pub const SHARD: &str = "sharding.fluxcd.io/key";

/// The field manager that kustomize-controller applies with.
pub const KUSTOMIZE_MANAGER: &str = "kustomize-controller";
/// The field manager that kustomize-controller writes status with.
pub const KUSTOMIZE_STATUS_MANAGER: &str = "gotk-kustomize-controller";
/// The field manager of source-controller.
pub const SOURCE_MANAGER: &str = "source-controller";
/// The field manager of notification-controller.
pub const NOTIFICATION_MANAGER: &str = "notification-controller";
/// The documented manager name of an edit that shall be kept.
pub const KEPT_EDIT_MANAGER: &str = "flux-client-side-apply";
/// Managers (by the beginning of their name) whose fields are taken over, applied or updated.
pub const TAKEN_OVER_MANAGERS: &[&str] = &["kubectl", "before-first-apply"];

/// Annotations that are removed from an object when it is applied.
pub const REMOVED_ANNOTATIONS: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/checksum",
    "fluxcd.io/sync-checksum",
];
/// Labels that are removed from an object when it is applied.
pub const REMOVED_LABELS: &[&str] = &["fluxcd.io/sync-gc-mark"];
/// Annotation of a rollout that someone asked for: never drift.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
