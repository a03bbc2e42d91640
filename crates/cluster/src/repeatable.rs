//! One cause is one text. The API server writes some of its lists in the order of a hash map, and connections have another local
//! port each time. A condition or an event that repeats such a text would change at each retry.

use std::collections::BTreeSet;

use serde_json::Value;

/// Begins the list of what does not fit the schema; each line of it is indented.
const TYPED_ERRORS: &str = "errors:\n";
/// Prefix of a message of an admission webhook.
const DENIED: &str = " denied the request: ";

/// The message of a rejection with its lists sorted. `status` is the whole response, whose causes name the items of a list.
pub fn sorted(message: String, status: &Value) -> String {
    let message = sorted_causes(message, status);
    let message = sorted_lines(message, TYPED_ERRORS, |line| line.starts_with("  "));
    let message = sorted_lines(message, DENIED, |line| line.starts_with('['));
    repeatable(message)
}

/// `[a, b]` of several invalid fields. The items hold commas of their own, so they are taken from the causes.
fn sorted_causes(message: String, status: &Value) -> String {
    let text = |cause: &Value| {
        let [field, message] = ["field", "message"].map(|key| cause[key].as_str().unwrap_or_default());
        if field.is_empty() { message.to_owned() } else { format!("{field}: {message}") }
    };
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    let mut items: Vec<String> = Vec::new();
    for item in causes.into_iter().flatten().map(text) {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    if items.len() < 2 {
        return message;
    }
    let verbatim = format!("[{}]", items.join(", "));
    items.sort();
    message.replace(&verbatim, &format!("[{}]", items.join(", ")))
}

/// Sorts the lines after `begin`, where all of them are items.
fn sorted_lines(message: String, begin: &str, is_item: impl Fn(&str) -> bool) -> String {
    let Some((head, list)) = message.split_once(begin) else { return message };
    if !list.lines().all(is_item) {
        return message;
    }
    let lines: BTreeSet<&str> = list.lines().collect();
    let lines: Vec<&str> = lines.into_iter().collect();
    format!("{head}{begin}{}", lines.join("\n"))
}

/// The text without the local ports of connections: `read tcp 10.0.0.1:45678->10.0.0.2:443` has another one each time.
pub fn repeatable(text: String) -> String {
    let Some((head, rest)) = text.split_once("->") else { return text };
    let address_part = head.trim_end_matches(|letter: char| letter.is_ascii_digit());
    match address_part.strip_suffix(':') {
        Some(address) if address_part.len() < head.len() => {
            format!("{address}->{}", repeatable(rest.to_owned()))
        }
        _ => format!("{head}->{}", repeatable(rest.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn one_text(messages: [&str; 2], causes: [&[(&str, &str)]; 2], expect: &str) {
        for (message, causes) in messages.into_iter().zip(causes) {
            let causes: Vec<_> =
                causes.iter().map(|(field, message)| json!({ "field": field, "message": message })).collect();
            let status = json!({ "details": { "causes": causes } });
            assert_eq!(sorted(message.to_owned(), &status), expect);
        }
    }

    #[test]
    fn invalid_fields_are_sorted() {
        let [b, a] =
            [("spec.b", "Required value"), ("spec.a", "Invalid value: \"x, y\": must be one, not two")];
        one_text(
            [
                "X \"n\" is invalid: [spec.b: Required value, spec.a: Invalid value: \"x, y\": must be one, not two]",
                "X \"n\" is invalid: [spec.a: Invalid value: \"x, y\": must be one, not two, spec.b: Required value]",
            ],
            [&[b, a], &[a, b, b]],
            "X \"n\" is invalid: [spec.a: Invalid value: \"x, y\": must be one, not two, spec.b: Required value]",
        );
    }

    #[test]
    fn fields_unknown_to_the_schema_are_sorted() {
        let text = "failed to create typed patch object (prod/web; apps/v1, Kind=Deployment): errors:\n";
        let [one, other] =
            ["  .spec.a: field not declared in schema", "  .spec.b: field not declared in schema"];
        one_text(
            [&format!("{text}{other}\n{one}"), &format!("{text}{one}\n{other}")],
            [&[], &[]],
            &format!("{text}{one}\n{other}"),
        );
    }

    #[test]
    fn policies_that_deny_are_sorted_and_other_lines_keep_their_order() {
        let text = "admission webhook \"policy.example.com\" denied the request: ";
        let of = |lines: &str| format!("{text}{lines}");
        one_text([&of("[b] no\n[a] no"), &of("[a] no\n[b] no")], [&[], &[]], &of("[a] no\n[b] no"));
        for other in [of("line b\nline a"), "[b]\n[a]".to_owned()] {
            assert_eq!(sorted(other.clone(), &Value::Null), other);
        }
    }

    #[test]
    fn a_connection_has_no_local_port() {
        for (text, expect) in [
            ("read tcp 10.0.0.1:45678->10.0.0.2:443: reset", "read tcp 10.0.0.1->10.0.0.2:443: reset"),
            ("a->b", "a->b"),
            ("x:->y z:1->w", "x:->y z->w"),
        ] {
            assert_eq!(repeatable(text.to_owned()), expect);
        }
    }
}
