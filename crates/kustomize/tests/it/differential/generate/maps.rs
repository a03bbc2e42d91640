//! Generators of maps.

use super::dice::Dice;
use super::fields::Context;
use super::node::Node;
use super::words;

pub fn config_maps(context: &mut Context<'_>, dice: &mut Dice) -> Node {
    let items = (0..dice.between(1, 2)).map(|_| entry(false, context, dice)).collect();
    Node::List(items)
}

pub fn secrets(context: &mut Context<'_>, dice: &mut Dice) -> Node {
    let items = (0..dice.between(1, 2)).map(|_| entry(true, context, dice)).collect();
    Node::List(items)
}

/// Options of one generator or of all.
pub fn options(dice: &mut Dice) -> Node {
    let mut entries = Vec::new();
    if dice.chance(50) {
        entries.push(("disableNameSuffixHash".to_owned(), Node::text(dice.pick(&["true", "false"]))));
    }
    if dice.chance(25) {
        entries.push(("immutable".to_owned(), Node::text("true")));
    }
    for field in ["labels", "annotations"] {
        if dice.chance(25) {
            entries.push((field.to_owned(), super::fields::texts(words::LABELS, dice)));
        }
    }
    Node::Map(entries)
}

/// One generator.
pub fn entry(is_secret: bool, context: &mut Context<'_>, dice: &mut Dice) -> Node {
    let kind = if is_secret { "Secret" } else { "ConfigMap" };
    let known = if is_secret { &context.secrets } else { &context.config_maps };
    let files: Vec<String> = context
        .below
        .iter()
        .filter(|object| object.kind == kind && object.namespace.is_none())
        .map(|object| object.name.clone())
        .collect();
    let existing: Vec<String> = known.iter().chain(&files).cloned().collect();
    let mut entries = Vec::new();
    let is_new = existing.is_empty() || dice.chance(55);
    let is_elsewhere = |name: &str| {
        context.elsewhere.iter().any(|object| object.kind == kind && object.name == name)
            || context.used.contains(&format!("{kind}/{name}"))
    };
    let name = if is_new {
        let free: Vec<&str> = words::NAMES
            .iter()
            .filter(|name| !existing.iter().any(|own| own == *name) && !is_elsewhere(name))
            .copied()
            .collect();
        if free.is_empty() { "fresh".to_owned() } else { dice.pick(&free).to_owned() }
    } else {
        dice.pick(&existing)
    };
    entries.push(("name".to_owned(), Node::text(name.clone())));
    if !is_new && !dice.once_in(60) {
        entries.push(("behavior".to_owned(), Node::text(dice.pick(&["merge", "merge", "replace"]))));
    } else if dice.chance(4) {
        entries.push((
            "behavior".to_owned(),
            Node::text(dice.pick(&[
                "create", "create", "create", "create", "create", "create", "create", "create", "merge",
                "odd",
            ])),
        ));
    }
    if dice.chance(if is_new { 8 } else { 1 }) {
        entries.push(("namespace".to_owned(), Node::text(dice.pick(words::NAMESPACES))));
    }
    sources(&mut entries, context, dice);
    if is_secret && dice.chance(30) {
        entries.push(("type".to_owned(), Node::text(dice.pick(&["Opaque", "kubernetes.io/tls", "x"]))));
    }
    if dice.chance(25) {
        entries.push(("options".to_owned(), options(dice)));
    }
    let has_namespace = entries.iter().any(|(field, _)| field == "namespace");
    context.used.push(format!("{kind}/{name}"));
    if is_new && !has_namespace {
        if is_secret { context.secrets.push(name) } else { context.config_maps.push(name) }
    }
    Node::Map(entries)
}

fn sources(entries: &mut Vec<(String, Node)>, context: &mut Context<'_>, dice: &mut Dice) {
    if dice.chance(65) {
        let literals = [
            "a=1",
            "b=two words",
            "\"c=\"",
            "k1=a=b",
            "k2=\"quoted\"",
            "k3='single'",
            "k4=\"half",
            "k5=yes",
            "k10=1.10",
            "_u=x",
            "\"x.y-z=  spaces  \"",
            "\"q=line\\nbreak\"",
            "uni=é日本",
            "html=<a>&b",
            "\"t=tab\\there\"",
            "num=0123",
            "\"tr=trail \"",
            "\"z=\\U0001F600\"",
            "'j={\"a\": 1}'",
        ];
        let mut chosen = dice.some(&literals, 18);
        if dice.once_in(30) {
            chosen.push(dice.pick(&["=x", "none", "a b=c", "a=1", "é=1", "\"\"", "\"=\"", "..=x"]));
        }
        entries.push(("literals".to_owned(), Node::texts(chosen)));
    }
    if dice.chance(25) {
        let files: Vec<String> = (0..dice.between(1, 2)).map(|index| file(index, context, dice)).collect();
        entries.push(("files".to_owned(), Node::texts(files)));
    }
    if dice.chance(15) {
        let name = env_file(context, dice);
        if dice.chance(10) {
            entries.push(("env".to_owned(), Node::text(name)));
        } else {
            entries.push(("envs".to_owned(), Node::texts([name])));
        }
    }
}

fn file(index: usize, context: &mut Context<'_>, dice: &mut Dice) -> String {
    let samples: &[&[u8]] = &[
        b"plain text\n",
        b"no newline",
        b"",
        b"\n",
        b"two\nlines\n",
        b"trailing blanks  \nx\n",
        b"crlf\r\nlines\r\n",
        b"tab\tin it\n",
        b"\xff\xfe\x00binary",
        b"nul \x00 in text",
        b"\xc3\xa9 unicode\n",
        b"\xf0\x9f\x98\x80 emoji\n",
        b"  leading\nblanks\n",
        b"\nleading newline\n",
        b"{\"json\": true}\n",
        b"a: 1\nb: [x]\n",
        b"long line that is longer than eighty characters and must not be folded because it is in a literal block\nx\n",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR a longer binary text that is going to be more than seventy columns in base64",
        b"\xef\xbb\xbfbom\n",
        b"del \x7f\n",
        b"esc \x1b[0m\n",
        b"  \n",
        b"end\n\n\n",
    ];
    let bytes = dice.pick(samples);
    let name =
        context.file(dice.pick(&["file", "data-", "x."]), dice.pick(&["txt", "conf", "json", "bin"]), bytes);
    match dice.below(10) {
        0..=5 => name,
        6 if dice.once_in(6) => format!("a=b={name}"),
        7 if dice.once_in(6) => format!("={name}"),
        8 if dice.once_in(6) => "missing.txt".to_owned(),
        _ => format!("named{index}.key={name}"),
    }
}

fn env_file(context: &mut Context<'_>, dice: &mut Dice) -> String {
    let lines = [
        "E1=1",
        "# comment",
        "",
        "  E2=leading",
        "E3 = spaces ",
        "E4=\"quoted\"",
        "E5=a=b",
        "E6=",
        "E7=x # not a comment",
        "E8=é",
        "e.9=dot",
        "E-10=dash",
        "E11='q'",
        "E12=1.10",
        "E13=yes\r",
    ];
    let mut chosen = dice.some(&lines, 25);
    if dice.once_in(12) {
        chosen.push(dice.pick(&["NOVALUE", "=x", "1E=x", "E 1=x", "export E=1"]));
    }
    let mut text = chosen.join("\n");
    if dice.chance(70) {
        text.push('\n');
    }
    if dice.once_in(15) {
        text.insert(0, '\u{feff}');
    }
    context.file("vars", "env", text)
}
