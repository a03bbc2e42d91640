//! Whether the installed CRD of Kustomization has the fields of drift: Flux's own prunes them, which must not go unseen.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, CustomResourceExt as _};
use plumb_api::kustomize::Kustomization;
use plumb_cluster::call;
use plumb_runtime::Runtime;
use plumb_status::{EventDraft, Reason};

/// What is told when the fields are missing.
const MISSING: &str = "this CRD has no spec.driftDetection and no status.drift, so the API server drops both: set the mode with \
    the annotation kustomize.toolkit.fluxcd.io/drift-detection, or install the CRD of Plumb";

/// Whether `status.drift` is kept. Where that cannot be found out it is assumed.
pub async fn keeps_drift(runtime: &Runtime) -> bool {
    let api: Api<CustomResourceDefinition> = Api::all(runtime.client());
    let crd = match call(api.get_opt(Kustomization::crd_name())).await {
        Ok(Some(crd)) => crd,
        Ok(None) => return true,
        Err(error) => {
            let error = plumb_status::chain(&error);
            tracing::warn!(
                error,
                "failed to read the CRD of Kustomization, assuming that it has the drift fields"
            );
            return true;
        }
    };
    let Ok(value) = serde_json::to_value(&crd) else { return true };
    let version =
        value["spec"]["versions"].as_array().into_iter().flatten().find(|version| version["name"] == "v1");
    let fields = |path: &str| version.and_then(|version| version.pointer(path)).is_some();
    let root = "/schema/openAPIV3Schema/properties";
    let keeps = fields(&format!("{root}/status/properties/drift"));
    if !keeps || !fields(&format!("{root}/spec/properties/driftDetection")) {
        tracing::warn!("{MISSING}");
        runtime.recorder().emit(&crd, EventDraft::error(Reason::DriftFieldMissing, MISSING));
    }
    keeps
}
