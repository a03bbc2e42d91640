//! Restoring: a person asks by annotation to put flagged objects back once. The request is echoed when all had their turn.

use plumb_cluster::NamespacedName;
use plumb_planning::drift::Restore;
use plumb_planning::drift::restore::RESTORE_ANNOTATION;
use plumb_planning::inventory::Inventory;
use plumb_status::{EventDraft, Reason};

use super::book::{CompareRequest, Restoring};
use super::sitting::Step;

/// Ids that one event names.
const NAMED_MAX: usize = 5;

/// What the annotation on a Kustomization asks for.
#[derive(Debug, Clone, Copy)]
pub struct RestoreRequest<'a> {
    /// The annotation.
    pub raw: &'a str,
    /// What the status echoes.
    pub echoed: Option<&'a str>,
    /// Whether the installed definition keeps the echo.
    pub crd_echoes: bool,
    /// What may be meant.
    pub inventory: &'a Inventory,
}

impl Step<'_> {
    /// Begins a restore, if it was not handled yet.
    pub fn restore(&mut self, key: &NamespacedName, request: RestoreRequest<'_>) {
        let RestoreRequest { raw, echoed, crd_echoes, inventory } = request;
        let (now, started) = (self.now, self.shared.deps.started);
        let Some(book) = self.state.books.get_mut(key).filter(|book| book.adopted && !book.terms.suspended)
        else {
            return;
        };
        let under_way = book.restoring.as_ref().is_some_and(|restoring| restoring.raw == raw);
        if under_way || book.restored.as_deref() == Some(raw) {
            return;
        }
        let wanted = match Restore::parse(raw) {
            Ok(wanted) => wanted,
            Err(error) => {
                // Remembered as handled, so that it is told once.
                book.restored = Some(raw.to_owned());
                let event = EventDraft::error(Reason::RestoreFailed, error.to_string())
                    .with("revision", book.standings.revision());
                self.send(key, vec![event]);
                self.touch(key);
                return;
            }
        };
        if wanted.is_handled(echoed, book.restored.as_deref(), crd_echoes, started) {
            book.restored = Some(raw.to_owned());
            return;
        }
        let chosen = wanted.choose(inventory);
        let everything = wanted.ids.is_empty();
        let mut left: std::collections::BTreeSet<_> = chosen
            .objects
            .into_iter()
            .filter(|id| book.objects.get(id).is_some_and(|kept| kept.planned.policy.corrects()))
            .filter(|id| !everything || book.standings.is_open(id))
            .collect();
        let objects: Vec<_> = left.iter().cloned().collect();
        // One request that comes while another goes on takes what that has left.
        if let Some(before) = book.restoring.take() {
            left.extend(before.left);
        }
        book.restoring = Some(Restoring { raw: raw.to_owned(), left });
        if !chosen.strangers.is_empty() {
            let names = chosen.strangers[..chosen.strangers.len().min(NAMED_MAX)].join(", ");
            let message = format!(
                "{} of the objects named in {RESTORE_ANNOTATION} are not in the inventory: {names}",
                chosen.strangers.len()
            );
            let event =
                EventDraft::error(Reason::RestoreFailed, message).with("revision", book.standings.revision());
            self.send(key, vec![event]);
        }
        for id in objects {
            self.request(key, &id, CompareRequest { restore: true, ..CompareRequest::urgent(now) });
        }
        self.touch(key);
    }
}
