//! What the runtime may ask of any object that is reconciled, whatever its kind. Conditions of single kinds never
//! enter.

use plumb_status::Condition;

use super::{GoDuration, Periods};

/// An object whose status is written by a controller.
pub trait Reconciled: Periods {
    /// The conditions as they stand; empty where there is no status.
    fn conditions(&self) -> &[Condition];
    /// The generation that the status speaks of; none where nothing was said yet.
    fn observed_generation(&self) -> Option<i64>;
    /// The request that was handled last.
    fn last_handled_reconcile_at(&self) -> Option<&str>;
    /// Whether the object asks to be left alone.
    fn suspended(&self) -> bool;
    /// How often it is reconciled, within its range.
    fn interval(&self) -> Option<GoDuration>;
}

/// Reads the trait from the status and spec of a kind; the interval is an expression of `self`.
macro_rules! reconciled {
    ($kind:ty, |$object:ident| $interval:expr) => {
        impl $crate::meta::Reconciled for $kind {
            fn conditions(&self) -> &[plumb_status::Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }

            fn observed_generation(&self) -> Option<i64> {
                // The API server fills in -1 for "never".
                self.status.as_ref()?.observed_generation.filter(|generation| *generation >= 0)
            }

            fn last_handled_reconcile_at(&self) -> Option<&str> {
                self.status.as_ref()?.last_handled_reconcile_at.as_deref()
            }

            fn suspended(&self) -> bool {
                self.spec.suspend
            }

            fn interval(&self) -> Option<$crate::meta::GoDuration> {
                let $object = self;
                $interval
            }
        }
    };
}

pub(crate) use reconciled;
