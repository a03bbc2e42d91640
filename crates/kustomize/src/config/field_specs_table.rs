//! Where kustomize writes labels, annotations, namespaces, names, images and replica counts:
//! the defaults of kustomize 5.8.1 as data (reference: kustomize-field-specs.json).
//! A row is `+` (made where missing) or `-`, group, version, kind (`*` for any) and path.

pub(super) const ANNOTATIONS: &str = "
+ * * * metadata/annotations
+ * v1 ReplicationController spec/template/metadata/annotations
+ * * Deployment spec/template/metadata/annotations
+ * * ReplicaSet spec/template/metadata/annotations
+ * * DaemonSet spec/template/metadata/annotations
+ * * StatefulSet spec/template/metadata/annotations
+ batch * Job spec/template/metadata/annotations
+ batch * CronJob spec/jobTemplate/metadata/annotations
+ batch * CronJob spec/jobTemplate/spec/template/metadata/annotations
";

pub(super) const SELECTORS: &str = "
+ * v1 Service spec/selector
+ * v1 ReplicationController spec/selector
+ * * Deployment spec/selector/matchLabels
- apps * Deployment spec/template/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels
- apps * Deployment spec/template/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels
- apps * Deployment spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels
- apps * Deployment spec/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels
- apps * Deployment spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels
+ * * ReplicaSet spec/selector/matchLabels
+ * * DaemonSet spec/selector/matchLabels
+ apps * StatefulSet spec/selector/matchLabels
- apps * StatefulSet spec/template/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels
- apps * StatefulSet spec/template/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels
- apps * StatefulSet spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels
- apps * StatefulSet spec/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels
- apps * StatefulSet spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels
- batch * Job spec/selector/matchLabels
- batch * CronJob spec/jobTemplate/spec/selector/matchLabels
- policy * PodDisruptionBudget spec/selector/matchLabels
- networking.k8s.io * NetworkPolicy spec/podSelector/matchLabels
- networking.k8s.io * NetworkPolicy spec/ingress/from/podSelector/matchLabels
- networking.k8s.io * NetworkPolicy spec/egress/to/podSelector/matchLabels
";

pub(super) const TEMPLATE_LABELS: &str = "
+ * * * metadata/labels
+ * v1 ReplicationController spec/template/metadata/labels
+ * * Deployment spec/template/metadata/labels
+ * * ReplicaSet spec/template/metadata/labels
+ * * DaemonSet spec/template/metadata/labels
+ apps * StatefulSet spec/template/metadata/labels
+ apps * StatefulSet spec/volumeClaimTemplates[]/metadata/labels
+ batch * Job spec/template/metadata/labels
+ batch * CronJob spec/jobTemplate/metadata/labels
+ batch * CronJob spec/jobTemplate/spec/template/metadata/labels
";

pub(super) const METADATA_LABELS: &str = "
+ * * * metadata/labels
+ * v1 ReplicationController spec/template/metadata/labels
+ * * Deployment spec/template/metadata/labels
+ * * ReplicaSet spec/template/metadata/labels
+ * * DaemonSet spec/template/metadata/labels
+ apps * StatefulSet spec/template/metadata/labels
+ apps * StatefulSet spec/volumeClaimTemplates[]/metadata/labels
+ batch * Job spec/template/metadata/labels
+ batch * CronJob spec/jobTemplate/metadata/labels
+ batch * CronJob spec/jobTemplate/spec/template/metadata/labels
";

pub(super) const IMAGES: &str = "
+ * * * spec/containers[]/image
+ * * * spec/initContainers[]/image
+ * * * spec/volumes[]/image/reference
+ * * * spec/template/spec/containers[]/image
+ * * * spec/template/spec/initContainers[]/image
+ * * * spec/template/spec/volumes[]/image/reference
";

pub(super) const NAME_PREFIX: &str = "
- * * * metadata/name
";

pub(super) const NAME_SUFFIX: &str = "
- * * * metadata/name
";

pub(super) const NAMESPACE: &str = "
+ * * Namespace metadata/name
+ apiregistration.k8s.io * APIService spec/service/namespace
- apiextensions.k8s.io * CustomResourceDefinition spec/conversion/webhook/clientConfig/service/namespace
";

pub(super) const REPLICAS: &str = "
+ * * Deployment spec/replicas
+ * * ReplicationController spec/replicas
+ * * ReplicaSet spec/replicas
+ * * StatefulSet spec/replicas
";
