//! Alerts and Providers as watches bring them: into the directory, and what is wrong with them to their owners. Only the
//! process that leads reports; the others keep what they would say, in case they come to lead.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicObject};
use plumb_api::meta::{Period, Periods as _};
use plumb_api::notification::{Alert, Provider};
use plumb_cluster::{NamespacedName, ObjectEvent};
use plumb_runtime::Recorder;
use plumb_status::{Detail, EventDraft, Reason};

use crate::config_errors::{ReportedErrors, of_alert, of_provider};
use crate::directory::Directory;

/// What takes the changes in.
pub struct Configuration {
    directory: Arc<Directory>,
    recorder: Recorder,
    reported: ReportedErrors<ConfigError>,
}

struct ConfigError {
    resource: ApiResource,
    object: Box<DynamicObject>,
    details: Vec<Detail>,
}

impl Configuration {
    /// Fills this directory, and reports errors through this recorder once it leads.
    pub fn new(directory: Arc<Directory>, recorder: Recorder) -> Self {
        Self { directory, recorder, reported: ReportedErrors::default() }
    }

    /// Takes in a change of an Alert.
    pub fn take_alert(&self, change: &ObjectEvent<Alert>) {
        let put = |alert: &Alert| of_alert(&self.directory.put_alert(alert));
        self.take(change, put, |key| self.directory.drop_alert(&key.namespace, &key.name));
    }

    /// Takes in a change of a Provider.
    pub fn take_provider(&self, change: &ObjectEvent<Provider>) {
        let put = |provider: &Provider| {
            let mut details = of_provider(&self.directory.put_provider(provider));
            let warnings = provider.periods().into_iter().filter_map(Period::warning);
            details.extend(warnings.map(|warning| Detail::new(Reason::PeriodLimited, warning)));
            details
        };
        self.take(change, put, |key| self.directory.drop_provider(&key.namespace, &key.name));
    }

    /// From now on this process reports errors, at once all that were kept.
    pub fn lead(&self) {
        for error in self.reported.lead() {
            self.report(error);
        }
    }

    fn take<O: Resource<DynamicType = ()>>(
        &self,
        change: &ObjectEvent<O>,
        put: impl Fn(&O) -> Vec<Detail>,
        forget: impl Fn(&NamespacedName),
    ) {
        match change {
            ObjectEvent::Applied { old: _, new } => self.weigh::<O>(new.meta(), put(new)),
            ObjectEvent::Deleted { old } => {
                forget(&NamespacedName::of(old.as_ref()));
                self.reported.forget(old.meta().uid.as_deref().unwrap_or_default());
            }
            ObjectEvent::Unreadable { key, message, raw } => {
                forget(key);
                let text = format!("the object cannot be read: {message}");
                self.weigh::<O>(&raw.metadata, vec![Detail::new(Reason::InvalidSpec, text)]);
            }
        }
    }

    fn weigh<O: Resource<DynamicType = ()>>(&self, meta: &ObjectMeta, details: Vec<Detail>) {
        let uid = meta.uid.as_deref().unwrap_or_default();
        if details.is_empty() {
            self.reported.settle(uid);
            return;
        }
        let metadata = ObjectMeta { managed_fields: None, ..meta.clone() };
        let object = Box::new(DynamicObject { types: None, metadata, data: serde_json::Value::Null });
        let error = ConfigError { resource: ApiResource::erase::<O>(&()), object, details };
        if let Some(due) = self.reported.note(uid, meta.generation.unwrap_or_default(), error) {
            self.report(due);
        }
    }

    fn report(&self, error: ConfigError) {
        let ConfigError { resource, object, details } = error;
        for Detail { reason, message } in details {
            tracing::warn!(
                controllerKind = resource.kind,
                name = object.metadata.name.as_deref().unwrap_or_default(),
                namespace = object.metadata.namespace.as_deref().unwrap_or_default(),
                %reason,
                error = message,
                "invalid configuration"
            );
            self.recorder.emit_as(&resource, object.as_ref(), EventDraft::error(reason, message));
        }
    }
}
