#!/usr/bin/env bash
# ignore 0.4.35 (crates.io): in a character class of a gitignore pattern a backslash is a character of the class.
# Guessed: it escapes the next character, as in git (wildmatch) and as in the crate's own patterns outside of a class.
# Seen: [a\]] matches neither "a" nor "]" (it is the class [a\] before a literal "]"), and [\a] matches a backslash; git matches both
# "a" and "]" with the first and no backslash with the second.
# Meant for: a repository's .gitignore and a tool built on this crate disagree on which files belong to it.
set -euo pipefail
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && cd "$dir"
cargo init --quiet --vcs none --name finding .
cargo add --quiet ignore@=0.4.35
cat > src/main.rs <<'RUST'
use ignore::gitignore::GitignoreBuilder;
fn main() {
    for (pattern, path) in [(r"[a\]]", "a"), (r"[a\]]", "]"), (r"[a\]]", r"\]"), (r"[\a]", r"\")] {
        let mut builder = GitignoreBuilder::new("/repository");
        builder.add_line(None, pattern).unwrap();
        let ignored = builder.build().unwrap().matched(path, false).is_ignore();
        println!("crate {pattern} {path} {ignored}");
    }
}
RUST
(
    cargo run --quiet
    git init --quiet tree && cd tree && touch a ']' '\]' '\'
    while read -r pattern path; do
        echo "$pattern" > .gitignore
        if git check-ignore --quiet --no-index -- "$path"; then verdict=true; else verdict=false; fi
        echo "git $pattern $path $verdict"
    done <<'ROWS'
[a\]] a
[a\]] ]
[a\]] \]
[\a] \
ROWS
) > seen
cat > expected <<'TEXT'
crate [a\]] a false
crate [a\]] ] false
crate [a\]] \] true
crate [\a] \ true
git [a\]] a true
git [a\]] ] true
git [a\]] \] false
git [\a] \ false
TEXT
cat seen
diff expected seen
