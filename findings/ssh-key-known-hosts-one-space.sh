#!/usr/bin/env bash
# ssh-key 0.6.7 (crates.io), KnownHosts: fields of a known_hosts line must be separated by exactly one space.
# Guessed: any run of spaces and tabs, and blanks before the first field, as OpenSSH reads the file.
# Seen: a tab, two spaces or a leading blank is an error for that line; `ssh-keygen -F` (OpenSSH) finds the host in all of them.
# Meant for: a known_hosts Secret that works with ssh must have its blanks normalised before this crate parses it.
set -euo pipefail
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && cd "$dir"
cargo init --quiet --vcs none --name finding .
cargo add --quiet ssh-key@=0.6.7 --features std
cat > src/main.rs <<'RUST'
use ssh_key::known_hosts::KnownHosts;
fn main() {
    let key = std::fs::read_to_string("key.pub").unwrap();
    let key = key.trim().splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
    for (name, line) in [
        ("one space", format!("git.example.com {key}\n")),
        ("tab", format!("git.example.com\t{key}\n")),
        ("two spaces", format!("git.example.com  {key}\n")),
        ("leading blank", format!(" git.example.com {key}\n")),
    ] {
        std::fs::write("known_hosts", &line).unwrap();
        let ours = if KnownHosts::new(&line).all(|entry| entry.is_ok()) { "read" } else { "error" };
        let ssh = std::process::Command::new("ssh-keygen").args(["-F", "git.example.com", "-f", "known_hosts"]).output().unwrap();
        let ssh = if ssh.status.success() { "found" } else { "not found" };
        println!("{name}: ssh-key {ours}, ssh-keygen {ssh}");
    }
}
RUST
ssh-keygen -q -t ed25519 -N '' -f key
cargo run --quiet > seen
cat > expected <<'TEXT'
one space: ssh-key read, ssh-keygen found
tab: ssh-key error, ssh-keygen found
two spaces: ssh-key error, ssh-keygen found
leading blank: ssh-key error, ssh-keygen found
TEXT
cat seen
diff expected seen
