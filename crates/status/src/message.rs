//! Limits of messages. What a message says is decided where it is made.

/// The most bytes of a condition's message (Kubernetes refuses more characters than that).
pub const CONDITION_BYTES_MAX: usize = 32_768;
/// The most bytes of a Kubernetes event's message.
pub const EVENT_BYTES_MAX: usize = 1_024;
/// The most bytes of the message of an event on the wire.
pub const WIRE_BYTES_MAX: usize = 39_000;

/// The most bytes of a message that is made: of a condition, an event or a field of a log line. No reader takes more.
pub const MESSAGE_BYTES_MAX: usize = WIRE_BYTES_MAX;

/// The room kept for the count at the end of a cut message.
const COUNT_BYTES_MAX: usize = 48;

/// A message as it is made: in at most [`MESSAGE_BYTES_MAX`] bytes, so that no queue or log holds more of it.
pub fn bounded(message: String) -> String {
    if message.len() <= MESSAGE_BYTES_MAX { message } else { cut(&message, MESSAGE_BYTES_MAX) }
}

/// The message in at most `max` bytes, whole characters; what was cut is counted.
pub fn cut(message: &str, max: usize) -> String {
    if message.len() <= max {
        return message.to_owned();
    }
    let keep = message.floor_char_boundary(max.saturating_sub(COUNT_BYTES_MAX));
    let note = format!(" … ({} bytes more)", message.len() - keep);
    if keep + note.len() > max {
        return message[..message.floor_char_boundary(max)].to_owned();
    }
    format!("{}{note}", &message[..keep])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_within_the_limit_is_left_alone() {
        assert_eq!(cut("ä short one", 12), "ä short one");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character_and_counted() {
        let long = "ä".repeat(100);
        let short = cut(&long, 100);
        assert_eq!(short, format!("{} … (148 bytes more)", "ä".repeat(26)));
        assert!(short.len() <= 100);
    }

    #[test]
    fn messages_are_cut_where_they_are_made() {
        let long = "x".repeat(1 << 20);
        let detail = crate::Detail::new(crate::Reason::Failed, long.clone());
        let event = crate::EventDraft::error(crate::Reason::Failed, long);
        for message in [detail.message, event.message] {
            assert!(
                message.len() <= MESSAGE_BYTES_MAX && message.ends_with(" bytes more)"),
                "{}",
                message.len()
            );
        }
    }

    #[test]
    fn a_limit_without_room_for_the_count_still_holds() {
        assert_eq!(cut("abcdefgh", 3), "abc");
        assert_eq!(cut("äää", 3), "ä");
    }
}
