//! A condition as Kubernetes defines it, and the closed vocabulary of condition types of a kind.

use std::borrow::Cow;
use std::fmt::Debug;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The type of the summary condition.
pub const READY: &str = "Ready";
/// The type of the condition that is set while work goes on or will be tried again.
pub const RECONCILING: &str = "Reconciling";
/// The type of the condition that is set while only a change of the object can help.
pub const STALLED: &str = "Stalled";

/// The condition types of one kind, without Ready, Reconciling and Stalled: those belong to the summary alone.
pub trait ConditionType: Copy + Eq + Ord + Debug + 'static {
    /// Every type, the most important first.
    const ALL: &'static [Self];
    /// The name on the wire.
    fn as_str(self) -> &'static str;
    /// Whether True is good or bad news.
    fn polarity(self) -> Polarity;
    /// Whether an unhealthy condition of this type keeps the object from being Ready.
    fn affects_ready(self) -> bool {
        true
    }
}

/// Declares the condition types of a kind, the most important first: each with its [`Polarity`], and with `beside Ready` where an
/// unhealthy condition of this type does not keep the object from being Ready. The name on the wire is that of the variant.
/// ```
/// plumb_status::condition_types! {
///     /// Conditions of a Cache.
///     pub enum CacheCondition {
///         /// The content could not be fetched.
///         FetchFailed = Negative,
///         /// A newer content is announced.
///         Outdated = Negative beside Ready,
///     }
/// }
/// use plumb_status::ConditionType as _;
/// assert_eq!(CacheCondition::Outdated.as_str(), "Outdated");
/// assert!(CacheCondition::FetchFailed.affects_ready() && !CacheCondition::Outdated.affects_ready());
/// ```
#[macro_export]
macro_rules! condition_types {
    (@affects_ready) => { true };
    (@affects_ready Ready) => { false };
    ($(#[$outer:meta])* $visibility:vis enum $name:ident {
        $($(#[$inner:meta])* $variant:ident = $polarity:ident $(beside $ready:ident)?,)*
    }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $name {
            $($(#[$inner])* $variant,)*
        }

        impl $crate::ConditionType for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            fn polarity(self) -> $crate::Polarity {
                match self { $(Self::$variant => $crate::Polarity::$polarity,)* }
            }

            fn affects_ready(self) -> bool {
                match self { $(Self::$variant => $crate::condition_types!(@affects_ready $($ready)?),)* }
            }
        }
    };
}

/// Whether True is good or bad news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polarity {
    /// True is healthy; False is shown as well.
    Positive,
    /// True is unhealthy; a condition that is not True is not shown at all.
    Negative,
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known.
    Unknown,
}

impl ConditionStatus {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// One aspect of the state of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The name of the aspect.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The generation of the object that this was said about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When status, reason or message last changed, in whole seconds.
    pub last_transition_time: Timestamp,
    /// A word for machines.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

impl Condition {
    /// Whether the condition says True.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }

    /// Whether the condition says False.
    pub fn is_false(&self) -> bool {
        self.status == ConditionStatus::False
    }

    /// Whether the two say the same: status, reason and message.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.status == other.status && self.reason == other.reason && self.message == other.message
    }
}

/// The condition of this type, if it is set.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Cut to whole seconds, as times in conditions are.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    let down = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor);
    time.round(down).unwrap_or(time)
}

impl JsonSchema for Condition {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Condition of an object.",
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "description": "Time of the last change of status, reason or message.",
                    "type": "string",
                    "format": "date-time"
                },
                "message": {
                    "description": "Human-readable message. May be empty.",
                    "type": "string",
                    "maxLength": 32768
                },
                "observedGeneration": {
                    "description": "Generation of the object that the condition was computed for.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0
                },
                "reason": {
                    "description": "Machine-readable reason, in CamelCase.",
                    "type": "string",
                    "maxLength": 1024,
                    "minLength": 1,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
                },
                "status": {
                    "description": "Status of the condition: True, False or Unknown.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"]
                },
                "type": {
                    "description": "Type of the condition, in CamelCase, optionally prefixed with a domain.",
                    "type": "string",
                    "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
                }
            }
        })
    }
}
