//! Any bytes as a kustomization file, next to fixed files that it may name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_kustomize_fuzz::{OBJECTS, check};

fuzz_target!(|bytes: &[u8]| {
    check(&[
        ("kustomization.yaml", bytes),
        ("a.yaml", OBJECTS.as_bytes()),
        ("b/kustomization.yaml", b"resources: [b.yaml]\nnamePrefix: b-\nconfigMapGenerator: [{name: g, literals: [k=v]}]\n"),
        ("b/b.yaml", b"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: hidden}\n"),
        (
            "c/kustomization.yaml",
            b"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {k: v}\nimages: [{name: nginx, newTag: c}]\n",
        ),
        ("p.yaml", b"apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: NodePort, ports: [{port: 80, $patch: delete}]}\n"),
        ("j.yaml", b"- {op: replace, path: /spec/replicas, value: 3}\n- {op: add, path: /metadata/labels/x, value: y}\n"),
        ("r.yaml", b"- source: {kind: ConfigMap, name: conf, fieldPath: data.k}\n  targets: [{select: {kind: Deployment}, fieldPaths: [spec.replicas]}]\n"),
        (
            "t.yaml",
            b"apiVersion: builtin\nkind: PrefixTransformer\nmetadata: {name: t}\nprefix: t-\nfieldSpecs: [{path: metadata/name}]\n",
        ),
        ("f.yaml", b"nameReference:\n- {kind: ConfigMap, fieldSpecs: [{kind: Own, path: spec/map}]}\nimages: [{path: spec/image, kind: Own}]\n"),
        ("e.env", b"A=1\n# note\nB = x y\nC\n"),
        ("bin", b"\x00\xff\xfe binary"),
    ]);
});
