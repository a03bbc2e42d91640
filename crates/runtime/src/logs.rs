//! Log lines as the `flux logs` command reads them: one JSON object a line, with the object of the attempt in it.
//! What is logged is decided where it happens; secret values have no text that could come here.

use std::fmt;

use plumb_status::message::bounded;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{LogEncoding, LogLevel};

/// Begins to log to the standard error output. A second call changes nothing.
pub fn start(level: LogLevel, encoding: LogEncoding, controller: &'static str) {
    let filter = filter(level);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that something logs already: a test, which keeps its own.
    let _ = match encoding {
        LogEncoding::Json => tracing::subscriber::set_global_default(
            lines.fmt_fields(JsonFields::new()).event_format(Lines { controller }).finish(),
        ),
        LogEncoding::Console => tracing::subscriber::set_global_default(lines.with_target(false).finish()),
    };
}

/// Libraries speak one level lower, so that the level of a flag means our own lines. The client of the API server never says
/// more than at `info`: below that it repeats what the server answered, and that quotes values of rejected Secrets.
pub fn filter(level: LogLevel) -> tracing_subscriber::EnvFilter {
    let directives = match level {
        LogLevel::Trace => {
            "debug,kube_client=info,plumb=trace,source_controller=trace,kustomize_controller=trace,notification_controller=trace"
        }
        LogLevel::Debug => {
            "info,plumb=debug,source_controller=debug,kustomize_controller=debug,notification_controller=debug"
        }
        LogLevel::Info => {
            "warn,plumb=info,source_controller=info,kustomize_controller=info,notification_controller=info"
        }
        LogLevel::Error => "error",
    };
    // `plumb` matches the targets of all our crates: a directive is a prefix.
    tracing_subscriber::EnvFilter::new(directives)
}

/// The format of a line.
struct Lines {
    controller: &'static str,
}

impl<S> FormatEvent<S, JsonFields> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<JsonFields>>()
                && let Ok(Value::Object(fields)) = serde_json::from_str(&fields.fields)
            {
                line.extend(fields);
            }
        }
        event.record(&mut Keys(&mut line));
        if let Some(message) = line.remove("message") {
            line.insert("msg".into(), message);
        }
        line.insert("ts".into(), timestamp().into());
        line.insert("level".into(), level(*event.metadata().level()).into());
        line.entry("logger").or_insert_with(|| event.metadata().target().into());
        line.entry("controller").or_insert_with(|| self.controller.into());
        writeln!(out, "{}", Value::Object(line))
    }
}

/// Milliseconds and a Z, as Go's ISO8601 encoder writes it.
fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn level(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        _ => "error",
    }
}

struct Keys<'a>(&'a mut Map<String, Value>);

impl Visit for Keys<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), bounded(format!("{value:?}")).into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), bounded(value.to_owned()).into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> Page {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .fmt_fields(JsonFields::new())
            .event_format(Lines { controller: "source-controller" })
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        page
    }

    #[test]
    fn a_long_field_is_cut() {
        let long = "x".repeat(1 << 20);
        let page = logged(|| {
            tracing::error!(error = long, debug = ?long, display = %long, "attempt failed");
        });
        assert!(page.0.lock().unwrap().len() < 4 * plumb_status::message::MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_line_has_the_keys_that_flux_logs_reads() {
        let page = logged(|| {
            let span = tracing::info_span!(
                "attempt",
                controllerKind = "GitRepository",
                name = "apps",
                namespace = "flux-system",
                reconcileID = "1-2",
                revision = tracing::field::Empty
            );
            let _entered = span.enter();
            span.record("revision", "main@sha1:abc");
            tracing::error!(ending = "failed", seconds = 0.5, error = "no route", "attempt failed");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let mut line: Map<String, Value> = serde_json::from_str(&text).unwrap();
        let ts = line.remove("ts").unwrap();
        assert_eq!((ts.as_str().unwrap().len(), text.lines().count()), (24, 1), "{ts}");
        assert_eq!(
            Value::Object(line),
            serde_json::json!({
                "level": "error", "logger": "plumb_runtime::logs::tests", "msg": "attempt failed",
                "controller": "source-controller", "controllerKind": "GitRepository", "name": "apps",
                "namespace": "flux-system", "reconcileID": "1-2", "revision": "main@sha1:abc",
                "ending": "failed", "seconds": 0.5, "error": "no route"
            })
        );
    }
}
