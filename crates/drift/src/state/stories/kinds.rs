//! A kind that may not be watched for a while, or is not served, and comes back.

use super::super::*;
use super::world::{World, kind};

/// What the API server makes of the kind of all objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KindState {
    Served,
    /// It may not be watched.
    Denied,
    /// Its definition was removed, and its objects with it.
    Unserved,
}

impl World {
    /// The kind may not be watched any more: what happens from now on goes unseen.
    pub fn deny_kind(&mut self) {
        if self.kind == KindState::Served {
            self.note("the kind is denied");
            self.kind = KindState::Denied;
            self.begin_watch();
        }
    }

    /// The definition of the kind is removed.
    pub fn remove_kind(&mut self) {
        if self.kind == KindState::Served {
            self.note("the kind is removed");
            self.live.clear();
            self.kind = KindState::Unserved;
            self.begin_watch();
        }
    }

    /// The kind is served and may be watched again.
    pub fn bring_kind_back(&mut self) {
        if self.kind != KindState::Served {
            self.note("the kind is back");
            self.kind = KindState::Served;
            self.begin_watch();
        }
    }

    /// The watch begins, or begins again.
    pub(super) fn begin_watch(&mut self) {
        match self.kind {
            KindState::Served => self.list(),
            KindState::Denied => self.will_arrive(Input::Denied(kind(), "forbidden".to_owned())),
            KindState::Unserved => self.will_arrive(Input::Unserved(kind())),
        }
    }

    /// After a rest: the owner was told that its kind may not be watched, or that the objects of its kind are gone.
    pub fn check_kind_told(&self) {
        let watched = self.policy.mode != DriftMode::Disabled;
        let denied = self.kind == KindState::Denied && watched;
        assert_eq!(self.reported.denied, denied, "told that the kind is denied\n{}", self.log());
        if self.kind == KindState::Unserved && watched {
            let report = self.report().and_then(|report| report.drift);
            assert_eq!(
                report.and_then(|drift| drift.objects),
                Some(3),
                "objects that are gone\n{}",
                self.log()
            );
        }
    }
}
