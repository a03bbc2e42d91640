#!/usr/bin/env bash
# gix 0.90.0 (crates.io): `core.deltaBaseCacheLimit` and `gitoxide.objects.cacheLimit` have no effect without the feature `max-performance`.
# Guessed: the cache of delta bases is there once `pack-cache-lru-dynamic`, the feature with its implementation, is switched on and the
#   setting has a size; at least, the built-in default as in git.
# Seen: the setting is read and checked (strict configuration rejects one that is no number), but no cache is installed: every object of
#   a delta chain is inflated from its first base again. `set_pack_cache` on the handle of the object database installs one.
# Meant for: whoever trims the features of gix. With chains of 50 deltas, reading 50 000 small files took 4.6 times as long.
set -euo pipefail
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && cd "$dir"
git init --quiet repository
cargo init --quiet --vcs none --name finding .
cat > src/main.rs <<'RUST'
fn open(strict: bool, value: &str) -> Result<gix::Repository, String> {
    let overrides = [format!("core.deltaBaseCacheLimit={value}"), format!("gitoxide.objects.cacheLimit={value}")];
    let options = gix::open::Options::isolated().strict_config(strict).config_overrides(overrides);
    gix::open_opts("repository", options).map_err(|_| "rejected".to_owned())
}

fn main() {
    let mut repository = open(true, "8m").unwrap();
    println!("delta bases: {}, objects: {}", repository.objects.has_pack_cache(), repository.objects.has_object_cache());
    println!("no number, strict: {}", open(true, "much").map(|_| "accepted".to_owned()).unwrap_or_else(|error| error));
    repository.objects.set_pack_cache(|| Box::new(gix::odb::pack::cache::lru::MemoryCappedHashmap::new(8 << 20)));
    println!("after set_pack_cache: {}", repository.objects.has_pack_cache());
}
RUST
for features in sha1,pack-cache-lru-dynamic sha1,max-performance; do
    cat > Cargo.toml <<TOML
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
gix = { version = "=0.90.0", default-features = false, features = [$(printf '"%s"' "$features" | sed 's/,/","/g')] }
TOML
    echo "$features"
    cargo run --quiet
done > seen
cat > expected <<'TEXT'
sha1,pack-cache-lru-dynamic
delta bases: false, objects: false
no number, strict: rejected
after set_pack_cache: true
sha1,max-performance
delta bases: true, objects: true
no number, strict: rejected
after set_pack_cache: true
TEXT
cat seen
diff expected seen
