#!/usr/bin/env bash
# prometheus-client 0.25.2 (crates.io): the help text of a metric is written as it is, label values are escaped.
# Guessed: both are escaped; the OpenMetrics text format demands it for HELP (\n, \\, \").
# Seen: help with a line break still yields a line (label values are escaped since 0.25.2 only) that is neither comment nor sample, and the reference parser rejects the whole page
# (prometheus_client 0.21.1 of PyPI, the parser of the format's own project).
# Meant for: one metric with a multi-line help text hides all metrics of a process.
set -euo pipefail
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && cd "$dir"
cargo init --quiet --vcs none --name finding .
cargo add --quiet prometheus-client@=0.25.2
cat > src/main.rs <<'RUST'
use prometheus_client::{encoding::text::encode, metrics::{family::Family, gauge::Gauge}, registry::Registry};
fn main() {
    let mut registry = Registry::default();
    let gauge = Family::<Vec<(String, String)>, Gauge>::default();
    gauge.get_or_create(&vec![("label".into(), "first\nsecond".into())]).set(1);
    registry.register("depth", "first\nsecond", gauge);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    print!("{text}");
}
RUST
cargo run --quiet > page
python3 -m venv venv && venv/bin/pip install --quiet prometheus_client==0.21.1
{
    cat page
    venv/bin/python - <<'PY'
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
try:
    list(parse(open("page").read()))
    print("parsed")
except ValueError:
    print("rejected")
PY
} > seen
cat > expected <<'TEXT'
# HELP depth first
second.
# TYPE depth gauge
depth{label="first\nsecond"} 1
# EOF
rejected
TEXT
cat seen
diff expected seen
