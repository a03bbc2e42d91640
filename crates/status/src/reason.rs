//! Every reason in one place: the reason of a condition, of an event, and the label of a metric. Sentences about a
//! single failure never enter: they belong to the error that knows it.

/// Builds the enum and its tables from one list, so that no reason lacks a meaning or a remedy.
macro_rules! reasons {
    ($($variant:ident $name:literal $meaning:literal $remedy:literal)*) => {
        /// Why a condition stands or an event was sent.
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
    Succeeded "Succeeded" "All is as it should be." ""
    Failed "Failed" "A step failed that has no reason of its own." "Read the message."
    Progressing "Progressing" "Work goes on." ""
    ProgressingWithRetry "ProgressingWithRetry" "The last attempt failed and will be repeated." "Read the message of Ready."
    Suspended "Suspended" "The object is suspended." "Set spec.suspend to false."
    Resumed "Resumed" "The object is reconciled again after a suspension." ""
    DependencyNotReady "DependencyNotReady" "An object named in dependsOn is missing or not Ready." "Look at the dependency that the message names."
    PruneFailed "PruneFailed" "Objects that left the source could not be deleted." "Look at the objects that the message names: permissions, finalizers, webhooks."
    PruneHeld "PruneHeld" "Objects that left the source are not deleted: another Kustomization wants them or may want them, or finalizers hold them." "Look at the Kustomization or object that the message names. To give the objects up instead, suspend this Kustomization before it is deleted."
    PruneBlocked "PruneBlocked" "The source renders no objects, and everything that was applied would be deleted." "Correct spec.path or the source. If it is meant, set the annotation kustomize.toolkit.fluxcd.io/allow-empty to true."
    LargePrune "LargePrune" "Nearly everything that was applied was deleted, because it left the source." "Check that the commit is meant."
    ObjectsReleased "ObjectsReleased" "A Kustomization was deleted and its objects were left in the cluster." "Nothing, if that is meant; otherwise delete them by hand."
    DependencyCycle "DependencyCycle" "The dependencies of the object lead back to it." "Remove one of the dependencies that the message names."
    ArtifactFailed "ArtifactFailed" "The source has no artifact, or it could not be fetched or used." "Look at the source; check spec.path and the network between the controllers."
    BuildFailed "BuildFailed" "The manifests could not be built." "Correct the file that the message names."
    HealthCheckFailed "HealthCheckFailed" "Applied objects did not become healthy in time." "Look at the objects that the message names."
    HealthCheckCanceled "HealthCheckCanceled" "Something newer arrived while objects were waited for." ""
    ReconciliationSucceeded "ReconciliationSucceeded" "The cluster is as the source says." ""
    ReconciliationFailed "ReconciliationFailed" "The cluster could not be made as the source says." "Read the message: it lists each object that was rejected."
    InvalidCelExpression "InvalidCELExpression" "An expression of the spec does not compile." "Correct the expression."
    FeatureGateDisabled "FeatureGateDisabled" "The spec asks for something that a feature gate switches off." "Enable the gate or remove the field."
    AccessDenied "AccessDenied" "The spec refers to another namespace, which this controller does not allow." "Move the object that is referred to, or start the controller without --no-cross-namespace-refs."
    UnsupportedField "UnsupportedField" "The spec sets a field that this version does not honour." "Remove the field that the message names."
    InvalidSpec "InvalidSpec" "The object cannot be read: a field has a value that its type does not have." "Correct the field that the message names."
    PeriodLimited "PeriodLimited" "A period of the spec is outside of its range: the nearest limit is used." "Set the field that the message names to a value inside the range."
    InternalError "InternalError" "A fault of the controller ended the attempt." "Report it, with the controller's log."
    TimedOut "TimedOut" "The attempt took longer than it may." "Read the message; raise spec.timeout if the work is sound."
    InvalidReference "InvalidReference" "The spec refers to something that cannot be." "Correct the reference."
    UrlInvalid "URLInvalid" "The URL cannot be used." "Correct spec.url."
    AuthenticationFailed "AuthenticationFailed" "The credentials could not be read or were refused." "Check the Secret that the spec names."
    VerificationError "VerificationError" "A signature could not be verified." "Check the keys and who signed."
    DirectoryCreationFailed "DirectoryCreationFailed" "A directory could not be made." "Check the volume of the controller: space, permissions."
    StatOperationFailed "StatOperationFailed" "A file could not be looked at." "Check the volume of the controller."
    ReadOperationFailed "ReadOperationFailed" "A file could not be read." "Check the volume of the controller."
    InvalidPath "InvalidPath" "A path leaves the tree that it belongs to." "Correct the path."
    ArchiveOperationFailed "ArchiveOperationFailed" "The artifact could not be written." "Check the volume of the controller: space, permissions."
    ArtifactUpToDate "ArtifactUpToDate" "The artifact is that of the remote revision." ""
    CacheOperationFailed "CacheOperationFailed" "A cache could not be used." "Check the volume of the controller."
    PatchOperationFailed "PatchOperationFailed" "The API server refused a patch." "Read the message."
    InvalidProviderConfiguration "InvalidProviderConfiguration" "The provider's settings do not fit together." "Correct spec.provider and what goes with it."
    GitOperationSucceeded "GitOperationSucceeded" "The repository was read." ""
    GitOperationFailed "GitOperationFailed" "The repository could not be read." "Check URL, reference and credentials with git ls-remote."
    EmptyGitRepository "EmptyGitRepository" "The repository has no commit." "Push a commit."
    InvalidGitObject "InvalidGitObject" "The repository holds an object that cannot be used." "Read the message."
    SourceIgnoreError "SourceIgnoreError" "The ignore rules cannot be used." "Correct spec.ignore or the .sourceignore file."
    NotFound "NotFound" "Something that is referred to does not exist." "Create it or correct the reference."
    NoArtifact "NoArtifact" "There is no artifact yet, or it is gone." ""
    IllegalPath "IllegalPath" "A path of the spec leaves its tree." "Correct the path."
    NewRevision "NewRevision" "The remote has a new revision." ""
    NewArtifact "NewArtifact" "A new artifact was stored." ""
    GarbageCollectionSucceeded "GarbageCollectionSucceeded" "Artifacts that are not needed any more were removed." ""
    GarbageCollectionFailed "GarbageCollectionFailed" "Artifacts that are not needed any more could not be removed." "Check the volume of the controller."
    ArtifactVerificationFailed "ArtifactVerificationFailed" "A stored artifact did not match its digest and was removed." "Nothing, if it stays alone: the artifact is made again. Check the volume of the controller if it returns."
    InsecureCredentials "InsecureCredentials" "Credentials are sent over an unencrypted connection." "Use an https:// URL."
    TokenNotFound "TokenNotFound" "The Secret of a Receiver is missing or has no token." "Create the Secret with the key token."
    ValidationFailed "ValidationFailed" "The object's settings do not fit together." "Read the message."
    NotificationDispatchFailed "NotificationDispatchFailed" "A notification could not be delivered." "Check the Provider: address, Secret, network."
    InvalidConfig "InvalidConfig" "An Alert or Provider cannot be used as it is." "Correct the field that the message names."
    SourceFetchFailed "SourceFetchFailed" "The object of an event could not be looked up." "Read the message."
    MetadataAppendFailed "MetadataAppendFailed" "A key of an Alert's metadata is already taken." "Rename the key."
    InvalidDriftDetection "InvalidDriftDetection" "The mode of drift detection is not a known one." "Use enabled, warn or disabled."
    DriftDetected "DriftDetected" "An object in the cluster differs from the source and is left so." "Restore it, or change the source."
    DriftCorrected "DriftCorrected" "An object in the cluster differed from the source and was put back." "If it returns, find who writes it: the message says."
    DriftResolved "DriftResolved" "What was flagged as drift is gone." ""
    DriftContention "DriftContention" "Someone keeps changing an object back: corrections are slowed down." "Let one side own the fields that the message names."
    DriftUnknown "DriftUnknown" "Whether objects differ from the source is not known at the moment." "Read the message."
    DriftFieldMissing "DriftFieldMissing" "The CustomResourceDefinition in the cluster lacks the field status.drift." "Install the CRDs of this version."
    RestoreFailed "RestoreFailed" "An object could not be put back as asked." "Read the message."
    RestoreSucceeded "RestoreSucceeded" "Objects were put back as asked." ""
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
