//! Scalars: the plain, the odd, and the ones that look like something else.

use super::dice::Dice;
use super::node::Node;

pub const NAMES: &[&str] = &["a", "b", "web", "db", "cache", "app-one", "x1"];
pub const NAMESPACES: &[&str] = &["default", "ns1", "ns2", "prod"];
pub const LABELS: &[&str] = &["app", "tier", "app.kubernetes.io/name", "env", "x"];
pub const IMAGES: &[&str] = &[
    "nginx",
    "nginx:1.25",
    "nginx:latest",
    "registry.io:5000/team/app",
    "registry.io:5000/team/app:v1",
    "docker.io/library/redis:7@sha256:aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999",
    "redis@sha256:aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999",
    "app:{{tag}}",
    "my-app_1.x:1.0-rc.1",
    "a/b/c:d",
    "nginxother:1",
];

/// Scalars in their source text. Each is valid YAML in a block and in a flow.
const ODD: &[&str] = &[
    "yes",
    "no",
    "on",
    "Off",
    "y",
    "N",
    "true",
    "True",
    "FALSE",
    "null",
    "~",
    "Null",
    "1.10",
    "1.0",
    "0x10",
    "017",
    "089",
    "0o17",
    "0b11",
    "1_000",
    "+7",
    "-0",
    ".5",
    "-.5",
    "1.",
    "1e3",
    "1E3",
    "1e-7",
    "123456789.123456789",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901",
    "-9223372036854775808",
    "2020-01-02",
    "2001-12-14T21:59:43Z",
    "2001-12-14t21:59:43.10-05:00",
    "2020-1-2",
    "12:30",
    "190:20:30",
    "1:2",
    "'1'",
    "\"1\"",
    "\"yes\"",
    "'true'",
    "\"null\"",
    "\"~\"",
    "\"2020-01-02\"",
    "\"1e3\"",
    "\"0x1F\"",
    "\"1_000\"",
    "\"12:30:45\"",
    "\"\"",
    "''",
    "\" lead\"",
    "\"trail \"",
    "\"a: b\"",
    "\"- a\"",
    "\"# c\"",
    "\"a #b\"",
    "'it''s'",
    "\"say \\\"x\\\"\"",
    "\"tab\\there\"",
    "\"line\\nbreak\"",
    "\"line\\n\"",
    "\"\\n\"",
    "\"\\n lead\"",
    "\"trail \\nx\"",
    "\"two\\n\\nlines\\n\"",
    "\"cr\\r\\nlf\"",
    "\"bell\\a\"",
    "\"esc\\e\"",
    "\"nul\\0\"",
    "\"\\u00a0nbsp\"",
    "\"\\u2028sep\"",
    "\"\\U0001F600 smile\"",
    "ünïcode",
    "日本語",
    "\"\u{e9}\"",
    "a#b",
    "a:b",
    "\"*a\"",
    "\"&a\"",
    "\"!x\"",
    "\"%x\"",
    "\"@x\"",
    "\"`x`\"",
    "\"{a}\"",
    "\"[a]\"",
    "\"a,b\"",
    "\"?\"",
    "\"? a\"",
    "\"-\"",
    "\":\"",
    "\"=\"",
    "=",
    "\"<<\"",
    "!!str 5",
    "!!str true",
    "!!int \"3\"",
    "!!float 3",
    "!!binary aGVsbG8=",
    "!custom x",
    "!!null ''",
    "!!bool \"true\"",
    "!!str",
    "$(VAR)",
    "$$(VAR)",
    "\"$(A) and $(B)\"",
    "<none>",
    "a&b",
    "\"a<b>&c\"",
    "\"\\\\\"",
    "\"/\"",
    "\".\"",
    "..",
    "\"0\"",
    "0",
    "00",
    "\"00\"",
    "-1",
    "1",
    "\"1.10\"",
    "\"0.5\"",
    "\"+1\"",
    "1__0",
    "0x",
    "0xZZ",
    "0b2",
    "\"0b11\"",
    "\"0o7\"",
    "1e",
    "e3",
    "1.2.3",
    "\"1.2.3\"",
    "\".5\"",
    "\"5.\"",
    "\"NaN\"",
    "\".nan\"",
    "\"a\\tb\"",
    "\"x\\u0085y\"",
    "\"\\ufeffbom\"",
];

const LONG: &[&str] = &[
    "a long plain text that has to be folded because it is longer than eighty characters, which is the width",
    "\"a long quoted text: it has to be folded because it is longer than eighty characters, which is the width\"",
    "'a long text with ''quotes'' that is longer than eighty characters, so it is going to be folded by the writer'",
    "averylongwordwithoutanyspacesinitthatcannotbefoldedbecausethereisnoplacetofolditatallinthewholeword",
    "\"a long text with  double  spaces   and a tail of blanks that is longer than eighty characters     x     \"",
    "\"https://example.com/a/very/long/url?with=parameters&and=more&of=them&so=that&it=is&longer=than&eighty=1\"",
    "\"unicode \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} \u{e9}\u{e9}\u{e9}\u{e9}\"",
    "\"\\u00e9 escaped and long, with a \\t tab in it so that it has to be double quoted and is folded there too, yes\"",
];

const LINES: &[&str] = &[
    "first line",
    "  indented more",
    "",
    "a: b",
    "- item",
    "# not a comment",
    "trailing blanks  ",
    "tab\there",
    "--- not a separator?",
    "ünï",
    "\"quoted\"",
    "$(VAR)",
    "key=value",
    "a long line that is certainly much longer than eighty characters, to see that nothing folds it",
];

/// Numbers that JSON does not hold, and texts that are not printed.
const UNSPEAKABLE: &[&str] = &[".inf", "-.Inf", ".nan", "1e400", "-1e400", "\"del \u{7f}\"", "\"\\x7f\""];

/// A scalar that may be anything.
pub fn odd(dice: &mut Dice) -> Node {
    match dice.below(20) {
        0 => Node::text(dice.pick(LONG)),
        1 | 2 => block(dice),
        3 if dice.once_in(5) => Node::text(dice.pick(UNSPEAKABLE)),
        _ => Node::text(dice.pick(ODD)),
    }
}

/// A scalar that is mostly without special meaning.
pub fn value(dice: &mut Dice) -> Node {
    match dice.below(10) {
        0..=2 => odd(dice),
        3 => Node::text(dice.below(100).to_string()),
        4 => Node::quoted(&dice.below(100).to_string()),
        _ => {
            Node::text(dice.pick(&["v", "value", "some text", "x-y", "/path/to/it", "http://x.y/z", "Hello"]))
        }
    }
}

/// A text of many lines.
pub fn block(dice: &mut Dice) -> Node {
    let header = dice.pick(&["|", "|-", "|+", ">", ">-", ">+", "|", "|2", "|2-"]);
    let count = dice.between(1, 5);
    let mut lines: Vec<String> = (0..count).map(|_| dice.pick(LINES).to_owned()).collect();
    if !header.contains('2') && (lines[0].starts_with(' ') || lines[0].is_empty()) {
        "first".clone_into(&mut lines[0]);
    }
    Node::Block(header.to_owned(), lines)
}

/// A value that is not a scalar, or a scalar where another type is expected.
pub fn anything(dice: &mut Dice) -> Node {
    match dice.below(9) {
        0 => Node::text("null"),
        1 => Node::text(""),
        2 => Node::List(Vec::new()),
        3 => Node::Map(Vec::new()),
        4 => Node::list([value(dice), Node::text("null")]),
        5 => Node::map([("name", value(dice)), ("odd", Node::text("null"))]),
        6 => Node::list([Node::map([("name", value(dice))]), Node::map([("value", Node::text("~"))])]),
        _ => odd(dice),
    }
}

/// A key of a map of texts.
pub fn key(dice: &mut Dice) -> String {
    let keys = [
        "a",
        "b",
        "key",
        "some.key",
        "with-dash",
        "under_score",
        "A",
        "k1",
        "k2",
        "k10",
        "file.txt",
        "config.yaml",
    ];
    let odd = [
        "\"1\"",
        "1",
        "yes",
        "\"yes\"",
        "\"true\"",
        "\"null\"",
        "\"a b\"",
        "'q'",
        "\"1.5\"",
        "é",
        "\"y\"",
        "x/y",
        "\"\"",
        "2020-01-02",
        "\"on\"",
        "n",
    ];
    if dice.chance(96) { dice.pick(&keys).to_owned() } else { dice.pick(&odd).to_owned() }
}
