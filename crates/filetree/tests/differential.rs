//! Random ignore rules and paths, matched here and by Flux's library: the same is left out. The oracle is
//! `tests/oracle/flux-choices`.

use plumb_filetree::{EntryKind, Ignore, RelPath};
use plumb_testkit::{
    oracle::{Choices, Oracle, cases},
    skip,
};
use serde::{Deserialize, Serialize};

const PATHS: usize = 12;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    ignore: String,
    domain: Vec<String>,
    paths: Vec<Entry>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    path: String,
    is_dir: bool,
}

#[derive(Deserialize)]
struct Answer {
    excluded: Vec<bool>,
}

#[test]
fn the_same_is_left_out_as_by_flux() {
    let oracle = match Oracle::build("flux-choices") {
        Ok(oracle) => oracle,
        Err(error) => return skip(&format!("the oracle cannot be built: {error:#}")),
    };
    let mut choices = Choices::from_environment();
    let questions: Vec<Question> = (0..cases()).map(|_| question(&mut choices)).collect();
    let answers: Vec<Answer> = oracle.ask(&questions).unwrap();
    let (mut differences, mut excluded, mut count) = (Vec::new(), 0, 0);
    for (question, flux) in questions.iter().zip(&answers) {
        let mut builder = Ignore::builder();
        builder.file(RelPath::parse(&question.domain.join("/")).unwrap(), question.ignore.clone());
        let rules = builder.build(None).unwrap();
        for (entry, flux) in question.paths.iter().zip(&flux.excluded) {
            let kind = if entry.is_dir { EntryKind::Dir } else { EntryKind::File };
            let ours = rules.excludes(&RelPath::parse(&entry.path).unwrap(), kind);
            count += 1;
            excluded += usize::from(ours);
            if ours != *flux {
                differences
                    .push(format!("{:?} {:?} {entry:?}: ours {ours}", question.ignore, question.domain));
            }
        }
    }
    assert!(excluded > count / 20 && excluded < count, "{excluded} of {count} are left out");
    let shown: Vec<&String> = differences.iter().take(5).collect();
    assert!(shown.is_empty(), "{} of {count} differ: {shown:#?}", differences.len());
}

fn question(choices: &mut Choices) -> Question {
    // A pattern that matches nothing comes first: without any pattern, defaults would apply that the oracle is not asked for.
    let mut ignore = String::from("/no/such/path");
    for _ in 0..=choices.below(3) {
        ignore.push('\n');
        ignore += &pattern(choices);
    }
    let domain = if choices.below(4) == 0 { vec!["a".to_owned()] } else { Vec::new() };
    let paths = (0..PATHS).map(|_| Entry { path: path(choices), is_dir: choices.below(3) == 0 }).collect();
    Question { ignore, domain, paths }
}

fn pattern(choices: &mut Choices) -> String {
    let mut text = choices.one(&["", "", "!", "", "#"]).to_owned();
    text += choices.one(&["", "", "/"]);
    for index in 0..=choices.below(3) {
        if index > 0 {
            text += choices.one(&["/", "/", "/", "/", "//"]);
        }
        let usual = ["a", "b", "a.md", "*", "**", "*.md", "?", "[ab]", "[^a]", "ab", "a*"];
        let unusual = ["a**", "[", "[a-", "\\a", "\\*", "[]a]", "a\\", "é", "[b-a]", "***"];
        text += if choices.below(6) == 0 { choices.one(&unusual) } else { choices.one(&usual) };
    }
    text + choices.one(&["", "", "", "/", "//", " ", "\\ ", "/**", "/**/"])
}

fn path(choices: &mut Choices) -> String {
    let parts: Vec<&str> = (0..=choices.below(4))
        .map(|_| choices.one(&["a", "b", "ab", "a.md", "b.md", "abc", "*", "é", "[", "a\\", "a "]))
        .collect();
    parts.join("/")
}
