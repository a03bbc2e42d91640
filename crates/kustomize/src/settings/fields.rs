//! The fields of a kustomization file and of the entries in it, by type.

use crate::shape::{Fields, Shape, TEXTS};

/// The whole file.
pub(super) const KUSTOMIZATION: Fields = &[
    ("apiVersion", Shape::Text),
    ("kind", Shape::Text),
    ("metadata", Shape::Record(METADATA)),
    ("resources", TEXTS),
    ("bases", TEXTS),
    ("components", TEXTS),
    ("crds", TEXTS),
    ("openapi", Shape::Texts),
    ("configurations", TEXTS),
    ("generators", TEXTS),
    ("transformers", TEXTS),
    ("validators", TEXTS),
    ("buildMetadata", TEXTS),
    ("sortOptions", Shape::Record(SORTING)),
    ("namePrefix", Shape::Text),
    ("nameSuffix", Shape::Text),
    ("namespace", Shape::Text),
    ("commonLabels", Shape::Texts),
    ("labels", Shape::List(&Shape::Record(LABELS))),
    ("commonAnnotations", Shape::Texts),
    ("patches", PATCHES),
    ("patchesStrategicMerge", TEXTS),
    ("patchesJson6902", PATCHES),
    ("images", IMAGES),
    ("imageTags", IMAGES),
    ("replicas", Shape::List(&Shape::Record(&[("name", Shape::Text), ("count", Shape::Integer)]))),
    ("replacements", Shape::List(&Shape::Record(REPLACEMENT))),
    ("vars", Shape::List(&Shape::Record(VAR))),
    ("configMapGenerator", Shape::List(&Shape::Record(CONFIG_MAP))),
    ("secretGenerator", Shape::List(&Shape::Record(SECRET))),
    ("generatorOptions", GENERATOR_OPTIONS),
    ("helmChartInflationGenerator", Shape::List(&Shape::Any)),
    ("helmCharts", Shape::List(&Shape::Any)),
    ("helmGlobals", Shape::Any),
];

const METADATA: Fields = &[
    ("name", Shape::Text),
    ("namespace", Shape::Text),
    ("labels", Shape::Texts),
    ("annotations", Shape::Texts),
];

const SORTING: Fields = &[
    ("order", Shape::Text),
    ("legacySortOptions", Shape::Record(&[("orderFirst", TEXTS), ("orderLast", TEXTS)])),
];

const LABELS: Fields = &[
    ("pairs", Shape::Texts),
    ("includeSelectors", Shape::Flag),
    ("includeTemplates", Shape::Flag),
    ("fields", crate::config::FIELD_SPECS),
];

const PATCHES: Shape = Shape::List(&Shape::Record(&[
    ("path", Shape::Text),
    ("patch", Shape::Text),
    ("target", SELECTOR),
    ("options", Shape::Record(&[("allowNameChange", Shape::Flag), ("allowKindChange", Shape::Flag)])),
]));

const SELECTOR: Shape = Shape::Record(&[
    ("group", Shape::Text),
    ("version", Shape::Text),
    ("kind", Shape::Text),
    ("name", Shape::Text),
    ("namespace", Shape::Text),
    ("labelSelector", Shape::Text),
    ("annotationSelector", Shape::Text),
]);

const IMAGES: Shape = Shape::List(&Shape::Record(&[
    ("name", Shape::Text),
    ("newName", Shape::Text),
    ("newTag", Shape::Text),
    ("tagSuffix", Shape::Text),
    ("digest", Shape::Text),
]));

const REPLACEMENT: Fields = &[
    ("path", Shape::Text),
    ("source", Shape::Record(SOURCE)),
    ("sourceValue", Shape::Text),
    ("targets", Shape::List(&Shape::Record(TARGET))),
];

const SOURCE: Fields = &[
    ("group", Shape::Text),
    ("version", Shape::Text),
    ("kind", Shape::Text),
    ("name", Shape::Text),
    ("namespace", Shape::Text),
    ("fieldPath", Shape::Text),
    ("options", FIELD_OPTIONS),
];

const TARGET: Fields = &[
    ("select", SELECTOR),
    ("reject", Shape::List(&SELECTOR)),
    ("fieldPaths", TEXTS),
    ("options", FIELD_OPTIONS),
];

const FIELD_OPTIONS: Shape = Shape::Record(&[
    ("delimiter", Shape::Text),
    ("index", Shape::Integer),
    ("encoding", Shape::Text),
    ("create", Shape::Flag),
]);

const VAR: Fields = &[
    ("name", Shape::Text),
    ("objref", Shape::Record(OBJECT)),
    ("fieldref", Shape::Record(&[("fieldPath", Shape::Text)])),
];

const OBJECT: Fields = &[
    ("apiVersion", Shape::Text),
    ("group", Shape::Text),
    ("version", Shape::Text),
    ("kind", Shape::Text),
    ("name", Shape::Text),
    ("namespace", Shape::Text),
];

pub(crate) const CONFIG_MAP: Fields = &[
    ("name", Shape::Text),
    ("namespace", Shape::Text),
    ("behavior", Shape::Text),
    ("literals", TEXTS),
    ("files", TEXTS),
    ("envs", TEXTS),
    ("env", Shape::Text),
    ("options", GENERATOR_OPTIONS),
];

pub(crate) const SECRET: Fields = &[
    ("name", Shape::Text),
    ("namespace", Shape::Text),
    ("behavior", Shape::Text),
    ("literals", TEXTS),
    ("files", TEXTS),
    ("envs", TEXTS),
    ("env", Shape::Text),
    ("options", GENERATOR_OPTIONS),
    ("type", Shape::Text),
];

const GENERATOR_OPTIONS: Shape = Shape::Record(&[
    ("labels", Shape::Texts),
    ("annotations", Shape::Texts),
    ("disableNameSuffixHash", Shape::Flag),
    ("immutable", Shape::Flag),
]);
