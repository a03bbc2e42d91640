#!/usr/bin/env bash
# granit-parser 2.2.0 with serde-saphyr 2.1.1 (crates.io): the events of a YAML document depend on who else is in the build.
# Guessed: a crate that takes granit-parser without its feature `comments` gets the same events whatever other crates ask for, since its own
# code and options stay the same.
# Seen: once serde-saphyr is anywhere in the build, cargo unifies features and the same code gets `Event::Comment` between its events, with
# default options. A consumer that pairs keys and values, or counts events, goes wrong on commented input, and no line of it changed.
# Meant for: whoever reads YAML by events. Name the feature yourself and skip comments, so that nobody's dependency decides it.
set -euo pipefail
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && cd "$dir"
cargo init --quiet --vcs none --name finding .
cargo add --quiet granit-parser@=2.2.0 --no-default-features --features std,error_messages
cat > src/main.rs <<'RUST'
fn main() {
    for event in granit_parser::Parser::new_from_str("a: 1 # x\n") {
        let text = format!("{:?}", event.unwrap().0);
        print!("{} ", text.split(['(', ' ', '{']).next().unwrap());
    }
    println!();
}
RUST
alone=$(cargo run --quiet)
cargo add --quiet serde-saphyr@=2.1.1
together=$(cargo run --quiet)
echo "alone:             $alone"
echo "with serde-saphyr: $together"
[[ $alone != *Comment* && $together == *Comment* ]] || { echo "this has changed"; exit 1; }
