//! Drift: an object that no longer says what Git says; how it is noticed, judged, attributed, corrected and told.
//!
//! Everything is a value and a function of values. Watching, reading and writing belong to the shell; `now` is an argument.

pub mod attribution;
pub mod burst;
pub mod contention;
pub mod correction;
pub mod finding;
pub mod message;
pub mod mode;
pub mod pace;
pub mod record;
pub mod report;
pub mod restore;
pub mod standing;
pub mod telling;
pub mod tools;
pub mod vanish;

pub use attribution::{Confidence, Writer};
pub use burst::EventAggregator;
pub use contention::Contention;
pub use finding::{Class, FieldDrift, Finding};
pub use mode::{InvalidMode, Mode};
pub use pace::{Debounce, Due, ReportPace};
pub use record::{Record, Seen, Wake, wake};
pub use restore::Restore;
pub use standing::OpenDrift;
pub use telling::DriftEvent;
pub use tools::Tools;
