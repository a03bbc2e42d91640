//! Prune: what may be deleted, in which order, and why not.
//!
//! A candidate comes from two inventories; permission comes from the live object alone (security.md I-20): our owner labels
//! on it, and a deletion bound to the UID and resourceVersion that were read. A claim of another Kustomization forbids
//! what the labels permit: see `claims`.

use std::fmt;

use plumb_manifests::{Object, ObjectId};
use serde_json::Value;

use crate::claims::Claims;
use crate::exclusion::{self, Policy};
use crate::inventory::Inventory;
use crate::ownership::{Owned, Owner};
use crate::stage;

/// An object that left the desired state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which object.
    pub id: ObjectId,
    /// The version under which it was applied.
    pub version: String,
}

/// Permission to delete exactly one state of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// UID precondition.
    pub uid: String,
    /// resourceVersion precondition.
    pub resource_version: String,
}

/// Why an object is not applied, corrected or deleted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// What is desired was applied already, and nothing is known against it.
    Unchanged,
    /// The object's annotation `reconcile: disabled`.
    ReconcileDisabled,
    /// The object's annotation `ssa: Ignore`.
    SsaIgnore,
    /// The object's annotation `ssa: IfNotPresent`, and it is present.
    Present,
    /// The object's annotation `prune: disabled`.
    PruneDisabled,
    /// The Kustomization does not prune.
    PruneOff,
    /// The live object carries another Kustomization's labels.
    OwnedBy(Owner),
    /// The live object carries no owner labels.
    NotOwned,
    /// The live object is being deleted already.
    BeingDeleted,
    /// The Kustomization is suspended.
    Suspended,
    /// The mode is `warn`.
    WarnMode,
    /// The mode is `disabled`: compared at the interval only.
    DriftDisabled,
    /// A controller wrote it: corrected at the interval.
    HeldByController(String),
    /// Two writers fight: corrected later.
    Contended,
    /// An apply of it got no response, and may still be carried out.
    OutcomeUnknown,
    /// The live object names no UID or resourceVersion, so a deletion could not be bound to it.
    Unidentified,
    /// The claims of other Kustomizations were not read.
    ClaimsUnread,
    /// Another Kustomization has it in its inventory or renders it.
    ClaimedBy(Owner),
    /// The newest rendering of another Kustomization is unknown.
    MayBeClaimedBy {
        /// Which Kustomization.
        owner: Owner,
        /// Why its rendering is unknown.
        because: String,
    },
    /// Deleting it would delete an object that stays.
    Contains {
        /// Such an object.
        object: Box<ObjectId>,
        /// The Kustomization that claims it; none: the pruning Kustomization itself.
        owner: Option<Owner>,
    },
}

impl SkipReason {
    /// The Kustomization because of which an object is not deleted.
    pub fn claimant(&self) -> Option<&Owner> {
        match self {
            Self::ClaimedBy(owner) | Self::MayBeClaimedBy { owner, .. } => Some(owner),
            Self::Contains { owner, .. } => owner.as_ref(),
            _ => None,
        }
    }

    /// Whether a prune candidate that is not deleted for this reason leaves the inventory (it is not ours to delete any more).
    pub fn releases(&self) -> bool {
        match self {
            Self::OwnedBy(_)
            | Self::NotOwned
            | Self::PruneDisabled
            | Self::ReconcileDisabled
            | Self::SsaIgnore
            | Self::PruneOff => true,
            Self::Unchanged
            | Self::Present
            | Self::BeingDeleted
            | Self::Suspended
            | Self::WarnMode
            | Self::DriftDisabled
            | Self::HeldByController(_)
            | Self::Contended
            | Self::OutcomeUnknown
            | Self::ClaimsUnread
            | Self::Unidentified
            | Self::ClaimedBy(_)
            | Self::MayBeClaimedBy { .. }
            | Self::Contains { .. } => false,
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("nothing changed"),
            Self::ReconcileDisabled => f.write_str("the object has reconcile: disabled"),
            Self::SsaIgnore => f.write_str("the object has ssa: Ignore"),
            Self::Present => f.write_str("the object has ssa: IfNotPresent and exists"),
            Self::PruneDisabled => f.write_str("the object has prune: disabled"),
            Self::PruneOff => f.write_str("the Kustomization does not prune"),
            Self::OwnedBy(owner) => {
                write!(f, "it belongs to {owner}")
            }
            Self::NotOwned => f.write_str("it carries no owner labels"),
            Self::BeingDeleted => f.write_str("it is being deleted"),
            Self::Suspended => f.write_str("the Kustomization is suspended"),
            Self::WarnMode => f.write_str("the mode is warn"),
            Self::DriftDisabled => f.write_str("drift detection is disabled"),
            Self::HeldByController(manager) => {
                write!(
                    f,
                    "{manager} is a controller: corrected at the interval (leave the field out of Git, or ignore it)"
                )
            }
            Self::Contended => f.write_str("another writer keeps changing it: corrected later"),
            Self::OutcomeUnknown => f.write_str(
                "the API server has not answered a write of it, which may still be carried out; looked at again",
            ),
            Self::Unidentified => f.write_str("the live object has no UID or resourceVersion"),
            Self::ClaimsUnread => f.write_str("the other Kustomizations were not checked for it"),
            Self::ClaimedBy(owner) => write!(f, "{owner} contains it"),
            Self::MayBeClaimedBy { owner, because } => write!(f, "{owner} may contain it: {because}"),
            Self::Contains { object, owner: Some(owner) } => write!(f, "it contains {object} of {owner}"),
            Self::Contains { object, owner: None } => write!(f, "it contains {object}, which is kept"),
        }
    }
}

/// Objects that left the desired state, in the order of deletion: the reverse of the apply order. An inventory of Flux writes the
/// names `a:b` and `a__b` alike: such an entry means both, as far as neither is desired.
pub fn candidates(before: &Inventory, desired: &Inventory) -> Vec<Candidate> {
    let gone = before.without(desired);
    let alike: Inventory = gone
        .in_apply_order()
        .into_iter()
        .filter_map(|(id, version)| Some((id.written_alike()?, version.to_owned())))
        .filter(|(id, _)| !desired.contains(id))
        .collect();
    let mut stale: Vec<Candidate> = alike
        .union(&gone)
        .in_apply_order()
        .into_iter()
        .map(|(id, version)| Candidate { id: id.clone(), version: version.to_owned() })
        .collect();
    stale.sort_by(|left, right| stage::deletion_order(&left.id, &right.id));
    stale
}

/// Whether the live object with this id may be deleted by this owner.
pub fn may_delete(
    id: &ObjectId,
    live: &Object,
    owner: &Owner,
    claims: &Claims,
) -> Result<Deletion, SkipReason> {
    match owner.of(live) {
        Owned::Ours => {}
        Owned::Another(other) => return Err(SkipReason::OwnedBy(other)),
        Owned::Nobody => return Err(SkipReason::NotOwned),
    }
    if exclusion::keeps_from_prune(live) {
        return Err(SkipReason::PruneDisabled);
    }
    match Policy::of(live) {
        Policy::Disabled => return Err(SkipReason::ReconcileDisabled),
        Policy::Ignore => return Err(SkipReason::SsaIgnore),
        Policy::Override | Policy::Merge | Policy::IfNotPresent => {}
    }
    if live.at(&["metadata", "deletionTimestamp"]).is_some() {
        return Err(SkipReason::BeingDeleted);
    }
    if let Some(why) = claims.on(id, live) {
        return Err(why);
    }
    let text =
        |key: &str| live.at(&["metadata", key]).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("uid"), text("resourceVersion")) {
        (Some(uid), Some(version)) => {
            Ok(Deletion { uid: uid.to_owned(), resource_version: version.to_owned() })
        }
        (None, _) | (_, None) => Err(SkipReason::Unidentified),
    }
}
