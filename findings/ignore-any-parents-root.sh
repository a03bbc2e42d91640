#!/usr/bin/env bash
# ignore 0.4.35 (crates.io), Gitignore::matched_path_or_any_parents: the root itself counts as a parent that a pattern may match.
# Guessed: parents below the root only; the folder that holds the .gitignore file cannot be ignored by it.
# Seen: with the pattern */ a plain file at the top is "ignored" (the empty path of the root is a directory that */ matches), while
# Gitignore::matched and git itself do not ignore it.
# Meant for: a tree filter built on this method drops every file at the top where a repository ignores its folders only.
set -euo pipefail
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && cd "$dir"
cargo init --quiet --vcs none --name finding .
cargo add --quiet ignore@=0.4.35
cat > src/main.rs <<'RUST'
use ignore::gitignore::GitignoreBuilder;
fn main() {
    for pattern in ["*/", "/*/", "sub/"] {
        let mut builder = GitignoreBuilder::new("/repository");
        builder.add_line(None, pattern).unwrap();
        let rules = builder.build().unwrap();
        let alone = rules.matched("file", false).is_ignore();
        let parents = rules.matched_path_or_any_parents("file", false).is_ignore();
        println!("{pattern}: matched {alone}, matched_path_or_any_parents {parents}");
    }
}
RUST
(
    cargo run --quiet
    git init --quiet tree && cd tree && touch file
    for pattern in '*/' '/*/' 'sub/'; do
        echo "$pattern" > .gitignore
        if git check-ignore --quiet --no-index file; then echo "$pattern: git ignores it"; else echo "$pattern: git does not"; fi
    done
) > seen
cat > expected <<'TEXT'
*/: matched false, matched_path_or_any_parents true
/*/: matched false, matched_path_or_any_parents true
sub/: matched false, matched_path_or_any_parents false
*/: git does not
/*/: git does not
sub/: git does not
TEXT
cat seen
diff expected seen
