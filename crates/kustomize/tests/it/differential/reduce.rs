//! Makes a case smaller while it stays interesting: greedy, over files, documents, blocks of lines and the parts of
//! lines that are written in flow style.

use std::collections::BTreeSet;

use crate::differential::case::Case;

/// The smallest case that can be had with so many questions.
pub fn reduce(case: &Case, tries: usize, is_interesting: &mut dyn FnMut(&Case) -> bool) -> Case {
    let mut reducer = Reducer { case: case.clone(), left: tries, is_interesting };
    loop {
        let before = reducer.case.clone();
        reducer.targets();
        reducer.files();
        reducer.documents();
        reducer.blocks();
        reducer.pieces();
        if reducer.case == before || reducer.left == 0 {
            return reducer.case;
        }
    }
}

struct Reducer<'i> {
    case: Case,
    left: usize,
    is_interesting: &'i mut dyn FnMut(&Case) -> bool,
}

impl Reducer<'_> {
    fn accept(&mut self, candidate: Case) -> bool {
        if self.left == 0 || candidate == self.case {
            return false;
        }
        self.left -= 1;
        if (self.is_interesting)(&candidate) {
            self.case = candidate;
            return true;
        }
        false
    }

    /// A base may show the same.
    fn targets(&mut self) {
        let directories: BTreeSet<String> = self
            .case
            .files
            .keys()
            .filter(|path| path.to_lowercase().contains("kustomization"))
            .map(|path| path.rsplit_once('/').map_or(String::new(), |(directory, _)| directory.to_owned()))
            .collect();
        for directory in directories {
            if self.accept(Case { target: directory, ..self.case.clone() }) {
                return;
            }
        }
    }

    fn files(&mut self) {
        for path in self.case.files.keys().cloned().collect::<Vec<_>>() {
            let mut candidate = self.case.clone();
            candidate.files.remove(&path);
            self.accept(candidate);
        }
    }

    fn with(&self, path: &str, lines: &[&str]) -> Case {
        let mut candidate = self.case.clone();
        candidate.files.insert(path.to_owned(), lines.concat().into_bytes());
        candidate
    }

    fn texts(&self) -> Vec<(String, String)> {
        let texts = self
            .case
            .files
            .iter()
            .filter_map(|(path, content)| Some((path.clone(), String::from_utf8(content.clone()).ok()?)));
        texts.collect()
    }

    fn documents(&mut self) {
        for (path, text) in self.texts() {
            let mut parts = documents(&text);
            let mut index = 0;
            while parts.len() > 1 && index < parts.len() {
                let mut fewer = parts.clone();
                fewer.remove(index);
                let pieces: Vec<&str> = fewer.iter().map(String::as_str).collect();
                if self.accept(self.with(&path, &pieces)) {
                    parts = fewer;
                } else {
                    index += 1;
                }
            }
        }
    }

    /// Each line with all lines below it, the outermost first.
    fn blocks(&mut self) {
        for (path, text) in self.texts() {
            let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
            let deepest = lines.iter().map(|line| indent(line)).max().unwrap_or(0);
            for depth in 0..=deepest {
                let mut index = 0;
                while index < lines.len() {
                    if indent(&lines[index]) != depth {
                        index += 1;
                        continue;
                    }
                    let end = block_end(&lines, index);
                    let kept: Vec<String> = lines[..index].iter().chain(&lines[end..]).cloned().collect();
                    let borrowed: Vec<&str> = kept.iter().map(String::as_str).collect();
                    if self.accept(self.with(&path, &borrowed)) || self.without_head(&path, &mut lines, index)
                    {
                        lines = self.lines_of(&path);
                    } else {
                        index += 1;
                    }
                }
            }
        }
    }

    /// A list entry whose first line goes while the rest stays: `- a: 1`, `  b: 2` becomes `- b: 2`.
    fn without_head(&mut self, path: &str, lines: &mut [String], index: usize) -> bool {
        let line = &lines[index];
        let margin = indent(line);
        let Some(next) = lines.get(index + 1) else { return false };
        if !line[margin..].starts_with("- ")
            || indent(next) != margin + 2
            || next[margin..].trim_start().starts_with('-')
        {
            return false;
        }
        let head = format!("{}- {}", &next[..margin], &next[margin + 2..]);
        let mut kept: Vec<&str> = lines[..index].iter().map(String::as_str).collect();
        kept.push(&head);
        kept.extend(lines[index + 2..].iter().map(String::as_str));
        let candidate = self.with(path, &kept);
        self.accept(candidate)
    }

    fn lines_of(&self, path: &str) -> Vec<String> {
        let content = self.case.files.get(path).cloned().unwrap_or_default();
        String::from_utf8_lossy(&content).split_inclusive('\n').map(str::to_owned).collect()
    }

    /// Entries between commas, each out of its line.
    fn pieces(&mut self) {
        for (path, _) in self.texts() {
            let mut number = 0;
            while number < self.lines_of(&path).len() {
                let lines = self.lines_of(&path);
                let smaller = without_pieces(&lines[number]).into_iter().any(|line| {
                    let mut changed = lines.clone();
                    changed[number] = line;
                    let borrowed: Vec<&str> = changed.iter().map(String::as_str).collect();
                    let candidate = self.with(&path, &borrowed);
                    self.accept(candidate)
                });
                if !smaller {
                    number += 1;
                }
            }
        }
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Where the block that begins at a line ends: what is indented deeper, and list entries right below a key.
fn block_end(lines: &[String], start: usize) -> usize {
    let margin = indent(&lines[start]);
    let is_entry = lines[start][margin..].starts_with("- ");
    let mut end = start + 1;
    while end < lines.len() {
        let line = &lines[end];
        let is_blank = line.trim().is_empty();
        let own = indent(line);
        let is_list_below = !is_entry && own == margin && line[own..].starts_with("- ");
        if !is_blank && own <= margin && !is_list_below {
            break;
        }
        end += 1;
    }
    end
}

/// Documents with the separators in front of them.
fn documents(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut() {
            last.push_str(line);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The line without one of its flow entries, in each way; then with simpler texts.
fn without_pieces(line: &str) -> Vec<String> {
    let mut cuts: Vec<usize> = line
        .char_indices()
        .filter(|(_, letter)| matches!(letter, '{' | '[' | ',' | '}' | ']'))
        .map(|(at, _)| at)
        .collect();
    if !line.contains(['{', '[']) {
        cuts.clear();
    }
    let mut smaller = Vec::new();
    for (number, &start) in cuts.iter().enumerate() {
        for &end in cuts[number + 1..].iter().rev() {
            let inner = &line[start + 1..end];
            let closes =
                |open: char, close: char| inner.matches(open).count() == inner.matches(close).count();
            if inner.trim().is_empty() || !closes('{', '}') || !closes('[', ']') {
                continue;
            }
            // An entry is removed with one of the commas next to it.
            let (head, tail) = match (&line[start..=start], &line[end..=end]) {
                (",", _) => (&line[..start], &line[end..]),
                (_, ",") => (&line[..=start], &line[end + 1..]),
                _ => (&line[..=start], &line[end..]),
            };
            smaller.push(format!("{head}{tail}"));
        }
    }
    if let Some((head, comment)) = line.split_once(" # ") {
        smaller.push(format!("{head}{}", if comment.ends_with('\n') { "\n" } else { "" }));
    }
    smaller
}
