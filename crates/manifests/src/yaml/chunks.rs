//! Cuts a text at its document separators, by lines, before anything is parsed.
//!
//! kustomize does this textually: so text after `...` inside a chunk is never read.

use super::YamlError;

/// A piece of text that holds one document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk<'t> {
    pub text: &'t str,
    /// The line of the whole text on which the chunk begins, from 1.
    pub line: usize,
}

const BYTE_ORDER_MARK: char = '\u{feff}';

pub(super) fn split(text: &str) -> Result<Vec<Chunk<'_>>, YamlError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut chunks = Vec::new();
    let (mut chunk_start, mut chunk_line, mut position) = (0, 1, 0);
    // A separator needs a line break of its own in front of it, so the line behind another separator is none.
    let mut may_separate = false;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let next = position + line.len();
        if may_separate && line.starts_with("---") && line.ends_with('\n') {
            check_separator(line, index + 1)?;
            chunks.push(Chunk { text: &text[chunk_start..position], line: chunk_line });
            (chunk_start, chunk_line, may_separate) = (next, index + 2, false);
        } else {
            may_separate = true;
        }
        position = next;
    }
    chunks.push(Chunk { text: &text[chunk_start..], line: chunk_line });
    Ok(chunks)
}

fn check_separator(line: &str, number: usize) -> Result<(), YamlError> {
    let rest = line["---".len()..].trim();
    if rest.is_empty() || rest.starts_with('#') {
        return Ok(());
    }
    let message = format!("invalid document separator: {}", line.trim());
    Err(YamlError { line: number, column: 1, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(&str, usize)]) {
        let chunks: Vec<_> = split(text).unwrap().into_iter().map(|chunk| (chunk.text, chunk.line)).collect();
        assert_eq!(chunks, expect);
    }

    #[test]
    fn separators_need_a_line_break_before_and_behind() {
        check("a: 1\n---\nb: 1\n", &[("a: 1\n", 1), ("b: 1\n", 3)]);
        check("---\na: 1\n---\n---\nb: 1", &[("---\na: 1\n", 1), ("---\nb: 1", 4)]);
        check("a: 1\n---", &[("a: 1\n---", 1)]);
        check("a: 1\r\n--- # c\r\nb: 1", &[("a: 1\r\n", 1), ("b: 1", 3)]);
        check("", &[]);
    }

    #[test]
    fn content_on_the_separator_line_is_rejected_with_its_line() {
        let error = split("a: 1\n--- foo\n").unwrap_err();
        assert_eq!(error.to_string(), "2:1: invalid document separator: --- foo");
    }
}
