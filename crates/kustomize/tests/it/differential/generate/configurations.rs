//! Files that configure the fields of the transformers and the schemas of kinds.

use super::dice::Dice;
use super::node::Node;
use super::words;

/// A field specification.
pub fn field_spec(dice: &mut Dice) -> Node {
    let path = dice.pick(&[
        "metadata/labels",
        "spec/mode",
        "spec/config/deep/value",
        "spec/items/name",
        "spec/items[]/value",
        "spec/new/field",
        "metadata/annotations",
        "spec/ref/name",
        "spec/template/spec/containers[]/name",
        "data/a",
        "metadata/annotations/example.com\\/a",
        "spec/selector",
        "spec/replicas",
        "spec/size",
        "spec/config/list",
        "spec/template/metadata/labels",
    ]);
    let mut entries = vec![("path", path)];
    if dice.chance(50) {
        entries.push(("kind", dice.pick(&["Foo", "Bar", "Deployment", "ConfigMap", "Service"])));
    }
    if dice.chance(20) {
        entries.push(("group", dice.pick(&["example.com", "apps"])));
    }
    if dice.chance(10) {
        entries.push(("version", dice.pick(&["v1", "v1alpha1"])));
    }
    if dice.chance(40) {
        entries.push(("create", dice.pick(&["true", "true", "false"])));
    }
    Node::pairs(entries)
}

/// A file of `configurations`.
pub fn configuration(dice: &mut Dice) -> Node {
    let lists = [
        "namePrefix",
        "nameSuffix",
        "namespace",
        "commonLabels",
        "labels",
        "templateLabels",
        "commonAnnotations",
        "varReference",
        "images",
        "replicas",
    ];
    let mut entries = Vec::new();
    for list in dice.some(&lists, 15) {
        entries.push((list.to_owned(), Node::list([field_spec(dice)])));
    }
    if dice.chance(50) {
        let specs = (0..dice.between(1, 2)).map(|_| field_spec(dice)).collect();
        let kind = dice.pick(&["ConfigMap", "Secret", "Foo", "Service"]);
        let reference = Node::map([("kind", Node::text(kind)), ("fieldSpecs", Node::List(specs))]);
        entries.push(("nameReference".to_owned(), Node::list([reference])));
    }
    if dice.once_in(40) {
        entries.push((words::key(dice), words::value(dice)));
    }
    Node::Map(entries)
}

/// A file of `crds`.
pub const CRD: &str = r#"{
  "github.com/example/Foo": {
    "Schema": {
      "description": "A Foo.",
      "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"$ref": "k8s.io/apimachinery/pkg/apis/meta/v1.ObjectMeta"},
        "spec": {"$ref": "github.com/example/FooSpec"}
      }
    },
    "Dependencies": ["github.com/example/FooSpec"]
  },
  "github.com/example/FooSpec": {
    "Schema": {
      "properties": {
        "ref": {
          "x-kubernetes-object-ref-api-version": "v1",
          "x-kubernetes-object-ref-kind": "ConfigMap",
          "$ref": "github.com/example/Ref"
        },
        "mode": {"type": "string", "x-kubernetes-identity": ""}
      }
    },
    "Dependencies": []
  },
  "github.com/example/Ref": {
    "Schema": {"properties": {"name": {"type": "string"}}},
    "Dependencies": []
  }
}
"#;

/// A file of `openapi`: lists of Foo are merged by name.
pub const SCHEMA: &str = r#"{
  "definitions": {
    "v1.Foo": {
      "type": "object",
      "x-kubernetes-group-version-kind": [{"group": "example.com", "kind": "Foo", "version": "v1"}],
      "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
          "type": "object",
          "properties": {
            "items": {
              "type": "array",
              "x-kubernetes-patch-merge-key": "name",
              "x-kubernetes-patch-strategy": "merge",
              "items": {"type": "object", "properties": {"name": {"type": "string"}}}
            }
          }
        }
      }
    }
  }
}
"#;
