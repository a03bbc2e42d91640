//! A whole tree, made up from the bytes: several kustomizations that name each other, objects, patches and settings of
//! every kind, mostly well formed.
#![no_main]

use std::fmt::Write;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use plumb_kustomize_fuzz::check;

#[derive(Debug, Arbitrary)]
struct Tree {
    root: Vec<Field>,
    base: Vec<Field>,
    part: Vec<Field>,
    objects: Vec<Object>,
    more: Vec<Object>,
    patch: Vec<Object>,
    operations: Vec<Operation>,
    replacements: Vec<Replacement>,
    plugins: Vec<Plugin>,
}

#[derive(Debug, Arbitrary, Clone, Copy)]
enum Name {
    A,
    B,
    Long,
    Empty,
    Number,
    Word,
    Strange,
    Var,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Long => "a-name-that-is-longer-than-what-fits-in-place",
            Self::Empty => "",
            Self::Number => "017",
            Self::Word => "yes",
            Self::Strange => "x: 'y\u{2028}\u{1f600}",
            Self::Var => "$(V)-$(W)",
        }
    }

    fn quoted(self) -> String {
        format!("{:?}", self.text()).replace("\\u{2028}", "\\u2028")
    }
}

#[derive(Debug, Arbitrary, Clone, Copy)]
enum Kind {
    ConfigMap,
    Secret,
    Deployment,
    Service,
    Namespace,
    RoleBinding,
    ServiceAccount,
    Crd,
    Own,
    List,
    Webhook,
}

impl Kind {
    fn id(self) -> (&'static str, &'static str) {
        match self {
            Self::ConfigMap => ("v1", "ConfigMap"),
            Self::Secret => ("v1", "Secret"),
            Self::Deployment => ("apps/v1", "Deployment"),
            Self::Service => ("v1", "Service"),
            Self::Namespace => ("v1", "Namespace"),
            Self::RoleBinding => ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            Self::ServiceAccount => ("v1", "ServiceAccount"),
            Self::Crd => ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            Self::Own => ("example.com/v1", "Own"),
            Self::List => ("v1", "List"),
            Self::Webhook => ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Object {
    kind: Kind,
    name: Name,
    namespace: Option<Name>,
    labels: Option<Vec<(Name, Name)>>,
    annotations: Option<Vec<(Name, Name)>>,
    refers: Name,
    body: Value,
    directive: Option<Directive>,
}

#[derive(Debug, Arbitrary)]
enum Directive {
    Delete,
    Replace,
    Merge,
    Unknown,
}

impl Directive {
    fn text(&self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Replace => "replace",
            Self::Merge => "merge",
            Self::Unknown => "other",
        }
    }
}

#[derive(Debug, Arbitrary)]
enum Value {
    Null,
    Tilde,
    Number(i64),
    Float(f64),
    Time,
    Name(Name),
    Quoted(Name),
    List(Vec<Value>),
    Keyed(Vec<(Name, Value, Option<Directive>)>),
    Map(Vec<(Name, Value)>),
    Anchored(Name),
    Text(String),
    Structured(Vec<(Name, Name)>),
}

impl Value {
    /// In flow style. `arbitrary` bounds the nesting by the number of bytes.
    fn write(&self, out: &mut String) {
        let written = match self {
            Self::Null => write!(out, "null"),
            Self::Tilde => write!(out, "~"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Float(number) => write!(out, "{number:e}"),
            Self::Time => write!(out, "2020-01-02"),
            Self::Name(Name::Strange) => write!(out, "1.10"),
            Self::Name(Name::Empty) => write!(out, "''"),
            Self::Name(name) => write!(out, "{}", name.text()),
            Self::Quoted(name) => write!(out, "{}", name.quoted()),
            Self::Text(text) => write!(out, "{}", serde_json::Value::from(text.as_str())),
            Self::Anchored(name) => write!(out, "{{x: &x {}, y: *x}}", name.quoted()),
            Self::Structured(pairs) => {
                let map: serde_json::Map<String, serde_json::Value> =
                    pairs.iter().map(|(key, value)| (key.text().to_owned(), value.text().into())).collect();
                let text = serde_json::Value::Object(map).to_string();
                write!(out, "{}", serde_json::Value::from(text))
            }
            Self::List(items) => {
                out.push('[');
                for item in items {
                    item.write(out);
                    out.push(',');
                }
                write!(out, "]")
            }
            Self::Keyed(items) => {
                out.push('[');
                for (name, value, directive) in items {
                    let _ = write!(out, "{{name: {}, image: {}, value: ", name.quoted(), name.quoted());
                    value.write(out);
                    if let Some(directive) = directive {
                        let _ = write!(out, ", $patch: {}", directive.text());
                    }
                    out.push_str("},");
                }
                write!(out, "]")
            }
            Self::Map(pairs) => {
                out.push('{');
                for (key, value) in pairs {
                    let _ = write!(out, "? {}\n : ", key.quoted());
                    value.write(out);
                    out.push(',');
                }
                write!(out, "}}")
            }
        };
        assert!(written.is_ok(), "writing to a String does not fail");
    }

    fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

fn pairs(pairs: &[(Name, Name)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("? {}\n : {}", key.quoted(), value.quoted())).collect();
    format!("{{{}}}", pairs.join(", "))
}

impl Object {
    fn text(&self) -> String {
        let (version, kind) = self.kind.id();
        let mut out = format!("---\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {}\n", self.name.quoted());
        if let Some(namespace) = self.namespace {
            out += &format!("  namespace: {}\n", namespace.quoted());
        }
        for (field, texts) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if let Some(texts) = texts {
                out += &format!("  {field}: {}\n", pairs(texts));
            }
        }
        if let Some(directive) = &self.directive {
            out += &format!("$patch: {}\n", directive.text());
        }
        let (body, name) = (self.body.text(), self.refers.quoted());
        out += &match self.kind {
            Kind::ConfigMap | Kind::Secret => format!("data: {body}\n"),
            Kind::Deployment => format!(
                "spec: {{replicas: 1, template: {{spec: {{containers: {body}, volumes: [{{name: v, configMap: {{name: \
                 {name}}}}}]}}}}}}\n"
            ),
            Kind::Service => format!("spec: {{selector: {{app: {name}}}, ports: {body}}}\n"),
            Kind::RoleBinding => format!(
                "subjects: [{{kind: ServiceAccount, name: {name}, namespace: {name}}}, {{kind: User, name: default}}]\n\
                 roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}\n"
            ),
            Kind::Webhook => format!("webhooks: [{{name: {name}, clientConfig: {{service: {{name: {name}}}}}}}]\n"),
            Kind::List => format!("items: {body}\n"),
            _ => format!("spec: {body}\n"),
        };
        out
    }
}

#[derive(Debug, Arbitrary)]
enum Field {
    Base(bool),
    Part,
    Prefix(Name),
    Suffix(Name),
    Namespace(Name),
    CommonLabels(Vec<(Name, Name)>),
    Labels(Vec<(Name, Name)>, bool, bool),
    Annotations(Vec<(Name, Name)>),
    Images(Vec<(Name, Name, Option<Name>)>),
    Replicas(Name, i8),
    ConfigMaps(Vec<Generator>),
    Secrets(Vec<Generator>),
    PatchFile(Option<Target>),
    PatchInline(Object, Option<Target>),
    JsonPatch(Target),
    JsonPatchNamed(Name),
    Merge(bool),
    Replacements,
    Replacement(Replacement),
    Vars(Vec<(Name, Kind, Name)>),
    Metadata(bool, bool, bool),
    Sort(bool),
    Transformers,
    Configurations,
    GeneratorOptions(bool, Vec<(Name, Name)>),
}

#[derive(Debug, Arbitrary)]
struct Generator {
    name: Name,
    behavior: u8,
    literals: Vec<(Name, Name)>,
    has_file: bool,
    has_env: bool,
    is_plain: bool,
}

impl Generator {
    fn text(&self) -> String {
        let behavior = ["create", "merge", "replace", ""][usize::from(self.behavior % 4)];
        let literals: Vec<String> = self
            .literals
            .iter()
            .map(|(key, value)| serde_json::Value::from(format!("{}={}", key.text(), value.text())).to_string())
            .collect();
        let files = if self.has_file { "[e.env, k=more.yaml]" } else { "[]" };
        let envs = if self.has_env { "[e.env]" } else { "[]" };
        format!(
            "- {{name: {}, behavior: '{behavior}', literals: [{}], files: {files}, envs: {envs}, options: \
             {{disableNameSuffixHash: {}}}}}\n",
            self.name.quoted(),
            literals.join(", "),
            self.is_plain
        )
    }
}

#[derive(Debug, Arbitrary)]
struct Target {
    kind: Option<Kind>,
    name: Option<Name>,
    pattern: u8,
    labels: Option<(Name, Name)>,
}

impl Target {
    fn text(&self) -> String {
        let mut parts = Vec::new();
        if let Some(kind) = self.kind {
            parts.push(format!("kind: {}", kind.id().1));
        }
        match (self.name, self.pattern) {
            (Some(name), _) => parts.push(format!("name: {}", name.quoted())),
            (None, pattern) => parts.push(format!("name: {:?}", [".*", "a|b", "[a-z]+", "(", "p-.*"][usize::from(pattern % 5)])),
        }
        if let Some((key, value)) = self.labels {
            parts.push(format!("labelSelector: {}", serde_json::Value::from(format!("{}={}", key.text(), value.text()))));
        }
        format!("{{{}}}", parts.join(", "))
    }
}

#[derive(Debug, Arbitrary)]
enum Step {
    Name(Name),
    Index(i8),
    All,
    Item(Name),
    Equal(Name),
    Spec,
    Data,
    Metadata,
    Last,
}

impl Step {
    fn text(&self) -> String {
        match self {
            Self::Name(name) => name.text().to_owned(),
            Self::Index(index) => index.to_string(),
            Self::All => "*".to_owned(),
            Self::Item(name) => format!("[name={}]", name.text()),
            Self::Equal(name) => format!("[={}]", name.text()),
            Self::Spec => "spec".to_owned(),
            Self::Data => "data".to_owned(),
            Self::Metadata => "metadata".to_owned(),
            Self::Last => "-".to_owned(),
        }
    }
}

fn path(steps: &[Step], separator: &str) -> String {
    let steps: Vec<String> = steps.iter().map(Step::text).collect();
    steps.join(separator)
}

#[derive(Debug, Arbitrary)]
struct Operation {
    act: u8,
    path: Vec<Step>,
    from: Vec<Step>,
    value: Value,
}

impl Operation {
    fn text(&self) -> String {
        let act = ["add", "remove", "replace", "move", "copy", "test"][usize::from(self.act % 6)];
        let quoted = |steps: &[Step]| serde_json::Value::from(format!("/{}", path(steps, "/")));
        format!("- {{op: {act}, path: {}, from: {}, value: {}}}\n", quoted(&self.path), quoted(&self.from), self.value.text())
    }
}

#[derive(Debug, Arbitrary)]
struct Replacement {
    source: Target,
    from: Vec<Step>,
    value: Option<Name>,
    select: Target,
    reject: Option<Target>,
    to: Vec<Step>,
    create: bool,
    delimiter: Option<Name>,
    index: i8,
}

impl Replacement {
    fn text(&self) -> String {
        let quoted = |steps: &[Step]| serde_json::Value::from(path(steps, "."));
        let source = match self.value {
            Some(value) => format!("sourceValue: {}", value.quoted()),
            None => {
                let kind = self.source.kind.map_or("", |kind| kind.id().1);
                let name = self.source.name.map_or("", Name::text);
                format!(
                    "source: {{kind: '{kind}', name: {}, fieldPath: {}}}",
                    serde_json::Value::from(name),
                    quoted(&self.from)
                )
            }
        };
        let delimiter = match self.delimiter {
            Some(delimiter) => format!(", delimiter: {}, index: {}", delimiter.quoted(), self.index),
            None => String::new(),
        };
        let reject = self.reject.as_ref().map(|target| format!(", reject: [{}]", target.text())).unwrap_or_default();
        format!(
            "- {source}\n  targets:\n  - {{select: {}{reject}, fieldPaths: [{}], options: {{create: {}{delimiter}}}}}\n",
            self.select.text(),
            quoted(&self.to),
            self.create
        )
    }
}

#[derive(Debug, Arbitrary)]
struct Plugin {
    kind: u8,
    name: Name,
    pairs: Vec<(Name, Name)>,
    create: bool,
}

impl Plugin {
    fn text(&self) -> String {
        const KINDS: [&str; 14] = [
            "AnnotationsTransformer",
            "HashTransformer",
            "ImageTagTransformer",
            "LabelTransformer",
            "NamespaceTransformer",
            "PatchJson6902Transformer",
            "PatchStrategicMergeTransformer",
            "PatchTransformer",
            "PrefixTransformer",
            "SuffixTransformer",
            "PrefixSuffixTransformer",
            "ReplacementTransformer",
            "ReplicaCountTransformer",
            "ValueAddTransformer",
        ];
        let kind = KINDS[usize::from(self.kind) % KINDS.len()];
        let name = self.name.quoted();
        let specs = format!("fieldSpecs: [{{path: spec/x/y, create: {}}}, {{path: metadata/name}}]", self.create);
        let fields = match kind {
            "AnnotationsTransformer" => format!("annotations: {}\n{specs}", pairs(&self.pairs)),
            "LabelTransformer" => format!("labels: {}\n{specs}", pairs(&self.pairs)),
            "ImageTagTransformer" => format!("imageTag: {{name: a, newName: {name}}}\n{specs}"),
            "NamespaceTransformer" => format!("{specs}\nunsetOnly: {}", self.create),
            "PatchJson6902Transformer" => "target: {kind: Own, name: a}\npath: j.yaml".to_owned(),
            "PatchStrategicMergeTransformer" => "paths: [p.yaml]".to_owned(),
            "PatchTransformer" => "path: p.yaml\ntarget: {kind: .*}".to_owned(),
            "PrefixTransformer" => format!("prefix: {name}\n{specs}"),
            "SuffixTransformer" => format!("suffix: {name}\n{specs}"),
            "PrefixSuffixTransformer" => format!("prefix: {name}\nsuffix: {name}\n{specs}"),
            "ReplacementTransformer" => "replacements: [{path: r.yaml}]".to_owned(),
            "ReplicaCountTransformer" => format!("replica: {{name: {name}, count: 3}}\n{specs}"),
            "ValueAddTransformer" => {
                format!("value: {name}\ntargets: [{{selector: {{kind: Own}}, fieldPath: spec/a}}]")
            }
            _ => String::new(),
        };
        format!("---\napiVersion: builtin\nkind: {kind}\nmetadata: {{name: {name}, namespace: {name}}}\n{fields}\n")
    }
}

impl Field {
    fn text(&self) -> String {
        let target = |target: &Option<Target>| match target {
            Some(target) => format!("  target: {}\n", target.text()),
            None => String::new(),
        };
        match self {
            Self::Base(false) => "resources: [a.yaml, base]\n".to_owned(),
            Self::Base(true) => "resources: [base, a.yaml]\n".to_owned(),
            Self::Part => "components: [part]\n".to_owned(),
            Self::Prefix(name) => format!("namePrefix: {}\n", name.quoted()),
            Self::Suffix(name) => format!("nameSuffix: {}\n", name.quoted()),
            Self::Namespace(name) => format!("namespace: {}\n", name.quoted()),
            Self::CommonLabels(texts) => format!("commonLabels: {}\n", pairs(texts)),
            Self::Labels(texts, selectors, templates) => format!(
                "labels: [{{pairs: {}, includeSelectors: {selectors}, includeTemplates: {templates}}}]\n",
                pairs(texts)
            ),
            Self::Annotations(texts) => format!("commonAnnotations: {}\n", pairs(texts)),
            Self::Images(images) => {
                let entry = |(name, new, tag): &(Name, Name, Option<Name>)| {
                    let tag = tag.map(|tag| format!(", newTag: {}", tag.quoted())).unwrap_or_default();
                    format!("- {{name: {}, newName: {}{tag}}}\n", name.quoted(), new.quoted())
                };
                format!("images:\n{}", images.iter().map(entry).collect::<String>())
            }
            Self::Replicas(name, count) => format!("replicas: [{{name: {}, count: {count}}}]\n", name.quoted()),
            Self::ConfigMaps(entries) => {
                format!("configMapGenerator:\n{}", entries.iter().map(Generator::text).collect::<String>())
            }
            Self::Secrets(entries) => {
                format!("secretGenerator:\n{}", entries.iter().map(Generator::text).collect::<String>())
            }
            Self::PatchFile(whom) => format!("patches:\n- path: p.yaml\n{}", target(whom)),
            Self::PatchInline(object, whom) => {
                format!("patches:\n- patch: {}\n{}", serde_json::Value::from(object.text()), target(whom))
            }
            Self::JsonPatch(whom) => format!("patches:\n- path: j.yaml\n  target: {}\n", whom.text()),
            Self::JsonPatchNamed(name) => format!(
                "patchesJson6902:\n- path: j.yaml\n  target: {{kind: Own, version: v1, name: {}}}\n",
                name.quoted()
            ),
            Self::Merge(false) => "patchesStrategicMerge: [p.yaml]\n".to_owned(),
            Self::Merge(true) => "patchesStrategicMerge: [p.yaml, p.yaml]\n".to_owned(),
            Self::Replacements => "replacements: [{path: r.yaml}]\n".to_owned(),
            Self::Replacement(replacement) => format!("replacements:\n{}", replacement.text()),
            Self::Vars(vars) => {
                let entry = |(name, kind, object): &(Name, Kind, Name)| {
                    let (version, kind) = kind.id();
                    let name = if matches!(name, Name::A) { "V" } else { "W" };
                    format!("- {{name: {name}, objref: {{apiVersion: {version}, kind: {kind}, name: {}}}}}\n", object.quoted())
                };
                format!("vars:\n{}", vars.iter().map(entry).collect::<String>())
            }
            Self::Metadata(origin, transformers, managed) => {
                let names = [("originAnnotations", origin), ("transformerAnnotations", transformers), ("managedByLabel", managed)];
                let requested: Vec<&str> = names.iter().filter(|(_, is)| **is).map(|(name, _)| *name).collect();
                format!("buildMetadata: [{}]\n", requested.join(", "))
            }
            Self::Sort(true) => "sortOptions: {order: fifo}\n".to_owned(),
            Self::Sort(false) => {
                "sortOptions: {order: legacy, legacySortOptions: {orderFirst: [Own], orderLast: [Secret]}}\n".to_owned()
            }
            Self::Transformers => "transformers: [t.yaml]\n".to_owned(),
            Self::Configurations => "configurations: [f.yaml]\n".to_owned(),
            Self::GeneratorOptions(hash, texts) => {
                format!("generatorOptions: {{disableNameSuffixHash: {hash}, labels: {}}}\n", pairs(texts))
            }
        }
    }
}

const SETTINGS: &str = "nameReference:\n- {kind: ConfigMap, fieldSpecs: [{kind: Own, path: spec/a}, {path: spec/b, create: \
                        true}]}\nvarReference: [{path: spec/a}, {path: data}]\nimages: [{path: spec/image}]\nreplicas: \
                        [{path: spec/a, kind: Own, create: true}]\n";

fuzz_target!(|tree: Tree| {
    let text = |fields: &[Field], head: &str| {
        let body: String = fields.iter().map(Field::text).collect();
        format!("{head}{body}")
    };
    let objects = |objects: &[Object]| objects.iter().map(Object::text).collect::<String>();
    let root = text(&tree.root, if tree.root.iter().any(|field| matches!(field, Field::Base(_))) { "" } else { "resources: [a.yaml, base]\n" });
    let base = text(&tree.base, "resources: [more.yaml]\n");
    let part = text(&tree.part, "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n");
    let operations: String = tree.operations.iter().map(Operation::text).collect();
    let replacements: String = tree.replacements.iter().map(Replacement::text).collect();
    let plugins: String = tree.plugins.iter().map(Plugin::text).collect();
    let (first, more, patch) = (objects(&tree.objects), objects(&tree.more), objects(&tree.patch));
    let mut files: Vec<(String, &str)> = vec![
        ("kustomization.yaml".to_owned(), &root),
        ("base/kustomization.yaml".to_owned(), &base),
        ("part/kustomization.yaml".to_owned(), &part),
    ];
    for directory in ["", "base/", "part/"] {
        for (name, text) in [
            ("a.yaml", first.as_str()),
            ("more.yaml", &more),
            ("p.yaml", &patch),
            ("j.yaml", &operations),
            ("r.yaml", &replacements),
            ("t.yaml", &plugins),
            ("f.yaml", SETTINGS),
            ("e.env", "A=1\n# note\nB = x\n"),
        ] {
            files.push((format!("{directory}{name}"), text));
        }
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
    check(&files);
});
