#!/usr/bin/env bash
# cel 0.15.0 (crates.io): the accessors of a timestamp without a time zone argument read the offset that the text was written with.
# Guessed: UTC, as the CEL language definition says ("get the hours from the date in UTC") and as cel-go does.
# Seen: the same instant, written with +02:00 and with Z, has two different hours and days. Naming the zone gives the same for both.
# Meant for: whoever evaluates health checks or alert rules with this crate must pass 'UTC', or convert timestamps first.
set -euo pipefail
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && cd "$dir"
cargo init --quiet --vcs none --name finding .
cargo add --quiet cel@=0.15.0
cat > src/main.rs <<'RUST'
fn main() {
    for text in [
        "timestamp('2024-01-01T00:00:00+02:00') == timestamp('2023-12-31T22:00:00Z')",
        "timestamp('2024-01-01T00:00:00+02:00').getHours()",
        "timestamp('2023-12-31T22:00:00Z').getHours()",
        "timestamp('2024-01-01T00:00:00+02:00').getFullYear()",
        "timestamp('2023-12-31T22:00:00Z').getFullYear()",
        "timestamp('2024-01-01T00:00:00+02:00').getHours('UTC')",
    ] {
        let value = cel::Program::compile(text).unwrap().execute(&cel::Context::default()).unwrap();
        println!("{text} = {value:?}");
    }
}
RUST
cargo run --quiet > seen
cat > expected <<'TEXT'
timestamp('2024-01-01T00:00:00+02:00') == timestamp('2023-12-31T22:00:00Z') = Bool(true)
timestamp('2024-01-01T00:00:00+02:00').getHours() = Int(0)
timestamp('2023-12-31T22:00:00Z').getHours() = Int(22)
timestamp('2024-01-01T00:00:00+02:00').getFullYear() = Int(2024)
timestamp('2023-12-31T22:00:00Z').getFullYear() = Int(2023)
timestamp('2024-01-01T00:00:00+02:00').getHours('UTC') = Int(22)
TEXT
cat seen
diff expected seen
