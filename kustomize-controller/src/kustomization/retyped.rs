//! Joins what an API server rejects with what a substitution did: a text that became a number or a boolean is rejected
//! where the kind wants a text, and neither the manifest nor the server's message shows the variable.

use plumb_rendering::Retyped;

use super::error::KustomizationError;

/// What the API server says of a value that is no text.
const NO_TEXT: &str = ": expected string, got ";
/// What stands in the place of a message about a Secret.
const WITHHELD: &str = "message is withheld";

/// Names the variables behind the fields of a rejected apply, and the quotes that help.
pub fn explain(error: KustomizationError, retyped: &[Retyped]) -> KustomizationError {
    match error {
        KustomizationError::Apply { summary } if !retyped.is_empty() => {
            KustomizationError::Apply { summary: explained(&summary, retyped) }
        }
        other => other,
    }
}

fn explained(summary: &str, retyped: &[Retyped]) -> String {
    let mut object = "";
    let lines = summary.lines().map(|line| {
        if let Some((id, _)) = line.split_once(" apply failed") {
            object = id;
        }
        let of_object = retyped.iter().filter(|retyped| retyped.object == object);
        let hints: Vec<String> = if line.contains(WITHHELD) {
            of_object.filter(|retyped| is_text_of_a_secret(&retyped.field)).map(hint).collect()
        } else {
            let fields = fields(line);
            of_object.filter(|retyped| fields.contains(&retyped.field)).map(hint).collect()
        };
        format!("{line}{}", hints.concat())
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_text_of_a_secret(field: &str) -> bool {
    [".data.", ".stringData."].iter().any(|start| field.starts_with(start))
}

/// The fields that are to be texts, without the items of lists.
fn fields(line: &str) -> Vec<String> {
    let mut parts: Vec<&str> = line.split(NO_TEXT).collect();
    parts.pop();
    let field = |part: &str| {
        let start = part.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        without_items(&part[start..])
    };
    parts.into_iter().map(field).collect()
}

fn without_items(path: &str) -> String {
    let mut depth = 0_usize;
    let keeps = |c: &char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    path.chars().filter(keeps).collect()
}

fn hint(retyped: &Retyped) -> String {
    let Retyped { field, variables, object: _ } = retyped;
    let names: Vec<String> = variables.iter().map(|name| format!("${{{name}}}")).collect();
    let name = variables.first().map_or("name", String::as_str);
    format!(
        " ({field} holds {}, whose value is not a text: quotes in the manifest are lost in the build, put them into the \
         value of the variable, as in {name}: '\"value\"')",
        names.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retyped(object: &str, field: &str, name: &str) -> Retyped {
        Retyped { object: object.to_owned(), field: field.to_owned(), variables: vec![name.to_owned()] }
    }

    #[track_caller]
    fn check(summary: &str, expect: &[&str]) {
        let all = [
            retyped("ConfigMap/prod/a", ".data.n", "n"),
            retyped("ConfigMap/prod/b", ".data.n", "other"),
            retyped("Deployment/prod/web", ".spec.template.spec.containers.env.value", "port"),
            retyped("Secret/prod/s", ".stringData.k", "token"),
            retyped("Secret/prod/s", ".metadata.generation", "g"),
        ];
        let error = KustomizationError::Apply { summary: summary.to_owned() };
        let lines: Vec<String> = explain(error, &all).to_string().lines().map(str::to_owned).collect();
        let before: Vec<&str> = summary.lines().collect();
        assert_eq!(lines.len(), before.len());
        for ((line, before), expect) in lines.iter().zip(before).zip(expect) {
            let hint = line.strip_prefix(before).unwrap();
            assert_eq!(hint.contains("put them into the value"), !expect.is_empty(), "{line}");
            assert!(hint.contains(expect), "{line}");
        }
    }

    #[test]
    fn a_rejected_text_names_its_variable_and_the_quotes_that_help() {
        let typed = |id: &str, field: &str| {
            format!(
                "{id} apply failed (InternalError): failed to create typed patch object (prod/a; v1, Kind=X): {field}: \
                 expected string, got &value.valueUnstructured{{Value:999991}}"
            )
        };
        check(&typed("ConfigMap/prod/a", ".data.n"), &[".data.n holds ${n}, whose value is not a text"]);
        check(&typed("ConfigMap/prod/b", ".data.n"), &["as in other: '\"value\"'"]);
        let item = ".spec.template.spec.containers[name=\"app\"].env[name=\"PORT\"].value";
        check(&typed("Deployment/prod/web", item), &["env.value holds ${port}"]);
        let two =
            format!("{}\n{}", typed("ConfigMap/prod/a", ".data.x"), typed("ConfigMap/prod/a", ".data.n"));
        check(&two, &["", "${n}"]);
        let nested =
            "ConfigMap/prod/a apply failed (InternalError): errors:\n  .data.n: expected string, got true";
        check(nested, &["", "${n}"]);
    }

    #[test]
    fn a_message_about_a_secret_names_the_fields_that_hold_texts() {
        check(
            "Secret/prod/s apply failed (BadRequest): the server's message is withheld, because it may quote secret values",
            &[".stringData.k holds ${token}"],
        );
        check("ConfigMap/prod/a apply failed (Invalid): something else", &[""]);
    }
}
