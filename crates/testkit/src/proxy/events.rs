//! The lines of a watch on their way through the proxy: dropped, duplicated, reordered.

use bytes::{Bytes, BytesMut};

use super::rule::Fault;

/// Cuts a stream of bytes into lines. A line ends with its newline.
#[derive(Default)]
pub(super) struct Lines(BytesMut);

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        Some(self.0.split_to(end + 1).freeze())
    }
}

/// What one watch holds back.
#[derive(Default)]
pub(super) struct Passage {
    held: Option<Bytes>,
    dropped: bool,
}

impl Passage {
    /// What is delivered when this line arrives under this fault.
    pub(super) fn pass(&mut self, line: Bytes, fault: Option<Fault>) -> Vec<Bytes> {
        match fault {
            Some(Fault::DropEvents) => {
                self.dropped = true;
                Vec::new()
            }
            Some(Fault::DuplicateEvents) => vec![line.clone(), line],
            Some(Fault::ReorderEvents) if self.held.is_none() => {
                self.held = Some(line);
                Vec::new()
            }
            Some(Fault::ReorderEvents) => [line].into_iter().chain(self.held.take()).collect(),
            _ => self.held.take().into_iter().chain([line]).collect(),
        }
    }

    /// A line that waits for its successor.
    pub(super) fn release(&mut self) -> Option<Bytes> {
        self.held.take()
    }

    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the client has missed something.
    pub(super) fn has_dropped(&self) -> bool {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(fault: Option<Fault>) -> String {
        let (mut lines, mut passage, mut out) = (Lines::default(), Passage::default(), Vec::new());
        for chunk in ["a\nb", "\nc\n", "d"] {
            lines.push(chunk.as_bytes());
            while let Some(line) = lines.next() {
                out.extend(passage.pass(line, fault));
            }
        }
        out.extend(passage.release());
        out.iter().map(|line| String::from_utf8_lossy(line).trim().to_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn whole_lines_pass_as_the_fault_configures() {
        assert_eq!(run(None), "a b c");
        assert_eq!(run(Some(Fault::DuplicateEvents)), "a a b b c c");
        assert_eq!(run(Some(Fault::ReorderEvents)), "b a c");
        assert_eq!(run(Some(Fault::DropEvents)), "");
    }
}
