//! Why a call to the API server failed, in one sentence. The client repeats the cause at each of its layers, and prints a rejection
//! in the debug form of its type.

use std::error::Error;

use kube::runtime::watcher;

/// The cause of an error of the client, once. A rejection by the API server is its message.
pub fn cause(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.message.is_empty() => {
            format!("the API server responded with status {} {}", status.code, status.reason)
                .trim_end()
                .to_owned()
        }
        kube::Error::Api(status) => status.message.clone(),
        other => said_once(other),
    }
}

/// The cause of a list or watch that failed, once.
pub fn watch_cause(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("failed to list: {}", cause(error)),
        watcher::Error::WatchStartFailed(error) => format!("failed to watch: {}", cause(error)),
        watcher::Error::WatchError(status) => format!("the API server ended the watch: {}", status.message),
        watcher::Error::WatchFailed(error) => format!("the watch broke off: {}", cause(error)),
        watcher::Error::NoResourceVersion => "the list has no metadata.resourceVersion".to_owned(),
    }
}

/// Names that the client gives to its layers: they are no part of the cause.
const LAYERS: [&str; 4] =
    ["ServiceError: ", "HyperError: ", "client error (Connect): ", "client error (SendRequest): "];

/// The texts of the chain, without those that an outer one holds already and without the names of layers.
pub(crate) fn said_once(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let inner = source.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        next = source.source();
    }
    LAYERS.iter().fold(text, |text, layer| text.strip_prefix(layer).map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        #[source]
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Option<Box<Layer>> {
        let (text, rest) = texts.split_first()?;
        Some(Box::new(Layer { text, source: layers(rest) }))
    }

    #[test]
    fn a_cause_that_each_layer_repeats_is_printed_once() {
        for (texts, expect) in [
            (
                &[
                    "ServiceError: client error (Connect)",
                    "client error (Connect)",
                    "tcp connect error",
                    "Connection refused",
                ][..],
                "tcp connect error: Connection refused",
            ),
            (&["auth error: a: b", "a: b", "b"], "auth error: a: b"),
            (&["alone"], "alone"),
        ] {
            assert_eq!(said_once(layers(texts).unwrap().as_ref()), expect);
        }
    }

    #[test]
    fn a_watch_that_fails_has_one_cause_without_the_debug_form_of_a_type() {
        let status =
            kube::core::Status::failure("too old resource version", "Expired").with_code(410).boxed();
        for (error, expect) in [
            (
                watcher::Error::InitialListFailed(kube::Error::Api(status.clone())),
                "failed to list: too old resource version",
            ),
            (
                watcher::Error::WatchStartFailed(kube::Error::Api(status.clone())),
                "failed to watch: too old resource version",
            ),
            (
                watcher::Error::WatchFailed(kube::Error::Api(status.clone())),
                "the watch broke off: too old resource version",
            ),
            (watcher::Error::WatchError(status), "the API server ended the watch: too old resource version"),
        ] {
            assert_eq!(watch_cause(&error), expect);
        }
    }

    #[test]
    fn a_rejection_is_its_message_and_never_the_debug_form_of_a_type() {
        let mut status = kube::core::Status::failure("buckets is forbidden", "Forbidden").with_code(403);
        assert_eq!(cause(&kube::Error::Api(status.clone().boxed())), "buckets is forbidden");
        status.message.clear();
        assert_eq!(
            cause(&kube::Error::Api(status.boxed())),
            "the API server responded with status 403 Forbidden"
        );
    }
}
