//! Every reason in one place: the reason of a condition, of an event, and the label of a metric. Sentences about a
//! single failure never enter: they belong to the error that knows it.

/// Builds the enum and its tables from one list, so that no reason lacks a meaning or a remedy.
macro_rules! reasons {
    ($($variant:ident $name:literal $meaning:literal $remedy:literal)*) => {
        /// Why a condition is set or an event was sent.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What to do about it; empty where nothing needs doing.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

impl std::fmt::Display for Reason {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

reasons! {
    Succeeded "Succeeded" "The operation succeeded." ""
    Failed "Failed" "A step failed that has no reason of its own." "Read the message."
    Progressing "Progressing" "Reconciliation is in progress." ""
    ProgressingWithRetry "ProgressingWithRetry" "The last attempt failed and will be retried." "Read the message of Ready."
    Suspended "Suspended" "The object is suspended." "Set spec.suspend to false."
    Resumed "Resumed" "The object is reconciled again after a suspension." ""
    DependencyNotReady "DependencyNotReady" "An object in dependsOn is missing or not Ready." "Check the dependency that the message names."
    PruneFailed "PruneFailed" "Objects that were removed from the source could not be deleted." "Check the objects that the message names: permissions, finalizers, webhooks."
    PruneHeld "PruneHeld" "Objects that were removed from the source are not deleted: another Kustomization contains or may contain them, or finalizers block the deletion." "Check the Kustomization or object that the message names. To leave the objects in the cluster instead, suspend this Kustomization before it is deleted."
    PruneBlocked "PruneBlocked" "The source renders no objects, and everything that was applied would be deleted." "Correct spec.path or the source. If it is meant, set the annotation kustomize.toolkit.fluxcd.io/allow-empty to true."
    LargePrune "LargePrune" "Nearly all applied objects were deleted because they were removed from the source." "Check that the commit is intended."
    ObjectsReleased "ObjectsReleased" "A Kustomization was deleted and its objects were left in the cluster." "None if intended; otherwise delete the objects by hand."
    DependencyCycle "DependencyCycle" "The dependencies of the object form a cycle." "Remove one of the dependencies that the message names."
    ArtifactFailed "ArtifactFailed" "The source has no artifact, or the artifact could not be fetched or used." "Check the source, spec.path and the network between the controllers."
    BuildFailed "BuildFailed" "The manifests could not be built." "Correct the file that the message names."
    BuildWarning "BuildWarning" "The manifests were built, but kustomize may have changed something that nobody asked for." "Read the message: it names the file or field, the object and what to write instead."
    HealthCheckFailed "HealthCheckFailed" "Applied objects did not become healthy in time." "Check the objects that the message names."
    HealthCheckCanceled "HealthCheckCanceled" "The health checks were canceled because of a newer revision or spec." ""
    ReconciliationSucceeded "ReconciliationSucceeded" "The cluster matches the source." ""
    ReconciliationFailed "ReconciliationFailed" "Objects could not be applied." "Read the message: it lists each object that was rejected."
    InvalidCelExpression "InvalidCELExpression" "A CEL expression of the spec does not compile." "Correct the expression."
    FeatureGateDisabled "FeatureGateDisabled" "The spec uses a feature whose feature gate is disabled." "Enable the gate or remove the field."
    AccessDenied "AccessDenied" "The spec refers to another namespace, which this controller does not allow." "Move the referenced object, or start the controller without --no-cross-namespace-refs."
    UnsupportedField "UnsupportedField" "The spec sets fields that this version does not support." "Remove or change the fields that the message names."
    InvalidSpec "InvalidSpec" "A field has an invalid value." "Correct the field that the message names."
    PeriodLimited "PeriodLimited" "A period of the spec is out of range: the nearest limit is used." "Set the field that the message names to a value within the range."
    InternalError "InternalError" "The controller failed unexpectedly." "Report it, with the controller's log."
    TimedOut "TimedOut" "The reconciliation timed out." "Read the message; raise spec.timeout if the operation is expected to take longer."
    InvalidReference "InvalidReference" "The spec has an invalid reference." "Correct the reference."
    UrlInvalid "URLInvalid" "The URL is not valid." "Correct spec.url."
    AuthenticationFailed "AuthenticationFailed" "The Secret with the credentials could not be read, or cannot be used." "Check the Secret that the spec names."
    VerificationError "VerificationError" "A signature could not be verified." "Check the public keys and the signer."
    DirectoryCreationFailed "DirectoryCreationFailed" "A directory could not be created." "Check the volume of the controller: space, permissions."
    StatOperationFailed "StatOperationFailed" "A file could not be inspected." "Check the volume of the controller."
    ReadOperationFailed "ReadOperationFailed" "A file or the tags of a repository could not be read, or no tag is in the range." "Read the message: check the reference of the source, or the volume of the controller or the bucket of its storage."
    InvalidPath "InvalidPath" "A path leaves the tree that it belongs to." "Correct the path."
    ArchiveOperationFailed "ArchiveOperationFailed" "The artifact could not be written." "Check the volume of the controller (space, permissions), or the bucket of its storage."
    ArtifactUpToDate "ArtifactUpToDate" "The artifact is that of the remote revision." ""
    CacheOperationFailed "CacheOperationFailed" "A cache could not be used." "Check the volume of the controller."
    PatchOperationFailed "PatchOperationFailed" "The API server rejected a patch." "Read the message."
    InvalidProviderConfiguration "InvalidProviderConfiguration" "The provider settings conflict." "Correct spec.provider and the fields that depend on it."
    GitOperationSucceeded "GitOperationSucceeded" "The repository was read." ""
    GitOperationFailed "GitOperationFailed" "The repository could not be read: unreachable, credentials rejected, no such reference, over a limit." "Check URL, reference and credentials with git ls-remote."
    EmptyGitRepository "EmptyGitRepository" "The repository has no commit." "Push a commit."
    OciArtifactPullFailed "OCIArtifactPullFailed" "The artifact could not be pulled: registry unreachable, credentials rejected, no such tag or digest, over a limit." "Check URL, reference and credentials, for example with flux pull artifact."
    OciArtifactLayerOperationFailed "OCIArtifactLayerOperationFailed" "The layer of the artifact could not be found or unpacked." "Check spec.layerSelector and what was pushed."
    BucketOperationFailed "BucketOperationFailed" "The bucket could not be listed, or its objects could not be fetched: unreachable, credentials rejected, no such bucket, over a limit." "Check endpoint, bucket name, region and credentials."
    InvalidStsConfiguration "InvalidSTSConfiguration" "The Security Token Service does not go with the provider." "Correct spec.sts."
    SourceUnavailable "SourceUnavailable" "The source that the object refers to does not exist or cannot be read." "Create the source, or correct spec.sourceRef."
    NoSourceArtifact "NoSourceArtifact" "The source that the object refers to has no artifact." "Read the conditions of the source."
    InvalidChartReference "InvalidChartReference" "The chart or a version of it does not exist in the repository." "Correct spec.chart or spec.version."
    ChartPullSucceeded "ChartPullSucceeded" "The chart was pulled." ""
    ChartPullError "ChartPullError" "The chart could not be pulled: unreachable, rejected, over a limit, or not the chart that was asked for." "Read the message: it names the URL."
    ChartPackageSucceeded "ChartPackageSucceeded" "The chart was packaged." ""
    ChartPackageError "ChartPackageError" "The chart could not be loaded or packaged." "Read the message: try helm package on the directory."
    MetadataPatchError "MetadataPatchError" "The version of the chart cannot be extended." "Correct the version in Chart.yaml."
    ValuesFilesError "ValuesFilesError" "The values files could not be merged." "Correct spec.valuesFiles, or the file that the message names."
    DependencyBuildError "DependencyBuildError" "A dependency of the chart could not be added." "Read the message: it names the dependency. Try helm dependency build."
    IndexationFailed "IndexationFailed" "The index of a Helm repository cannot be read." "Check that spec.url serves an index.yaml, for example with helm repo add."
    InvalidCommitSignature "InvalidCommitSignature" "The signature of the commit is missing or could not be verified." "Sign the commit with a trusted key, or correct the public keys in the Secret of spec.verify."
    InvalidTagSignature "InvalidTagSignature" "The signature of the tag could not be verified." "Sign the tag with a trusted key, or correct the public keys in the Secret of spec.verify."
    InvalidVerificationMode "InvalidVerificationMode" "spec.verify.mode asks for the signature of a tag, but no tag is checked out." "Set spec.ref to a tag, or spec.verify.mode to HEAD."
    InvalidGitObject "InvalidGitObject" "The repository contains a Git object that cannot be used." "Read the message."
    SourceIgnoreError "SourceIgnoreError" "The ignore rules cannot be used." "Correct spec.ignore or the .sourceignore file."
    NotFound "NotFound" "A referenced object does not exist." "Create the object or correct the reference."
    NoArtifact "NoArtifact" "The artifact does not exist yet, or was removed." ""
    IllegalPath "IllegalPath" "A path of the spec leaves its tree." "Correct the path."
    CopyFailure "CopyFailure" "Files of an included repository could not be copied." "Correct spec.include."
    NewRevision "NewRevision" "The remote has a new revision." ""
    NewArtifact "NewArtifact" "A new artifact was stored." ""
    GarbageCollectionSucceeded "GarbageCollectionSucceeded" "Expired artifacts were removed." ""
    GarbageCollectionFailed "GarbageCollectionFailed" "Expired artifacts could not be removed." "Check the volume of the controller, or the bucket of its storage."
    ArtifactVerificationFailed "ArtifactVerificationFailed" "A stored artifact did not match its digest and was removed." "None if it happens once: the artifact is stored again. Check the volume of the controller, or who writes to the bucket of its storage, if it recurs."
    InsecureCredentials "InsecureCredentials" "Credentials are sent over an unencrypted connection." "Use an https:// URL."
    TokenNotFound "TokenNotFound" "The Secret of a Receiver is missing or has no token." "Create the Secret with the key token."
    ValidationFailed "ValidationFailed" "The settings of the object conflict." "Read the message."
    NotificationDispatchFailed "NotificationDispatchFailed" "A notification could not be delivered." "Check the Provider: address, Secret, network."
    InvalidConfig "InvalidConfig" "An Alert or Provider is not valid." "Correct the field that the message names."
    SourceFetchFailed "SourceFetchFailed" "The object of an event could not be read, or a source of generated artifacts could not be fetched." "Read the message."
    MetadataAppendFailed "MetadataAppendFailed" "A metadata key of an Alert conflicts with an existing key." "Rename the key."
    InvalidDriftDetection "InvalidDriftDetection" "The drift detection mode is not valid." "Use enabled, warn or disabled."
    DriftDetected "DriftDetected" "An object in the cluster differs from the source and is not corrected." "Restore it, or change the source."
    DriftCorrected "DriftCorrected" "An object in the cluster differed from the source and was corrected." "If it recurs, find the manager that the message names."
    DriftResolved "DriftResolved" "Drift was resolved without a correction by this controller." ""
    DriftContention "DriftContention" "Another manager rewrites fields after each correction: corrections back off." "Let one manager own the fields that the message names."
    DriftUnknown "DriftUnknown" "An object could not be compared with the source." "Read the message."
    DriftFieldMissing "DriftFieldMissing" "The CustomResourceDefinition in the cluster lacks the field status.drift." "Install the CRDs of this version."
    RestoreFailed "RestoreFailed" "A requested restore failed." "Read the message."
    RestoreSucceeded "RestoreSucceeded" "A requested restore succeeded." ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_word_and_a_meaning() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert!(!reason.meaning().is_empty(), "{reason}");
            assert!(
                Reason::ALL[..at].iter().all(|other| other.as_str() != reason.as_str()),
                "{reason} twice"
            );
        }
    }
}
