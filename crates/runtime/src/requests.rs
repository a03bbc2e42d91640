//! Counts what a client sends to the API server.

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tower::service_fn;

use crate::background::BoxError;
use crate::metrics::Metrics;

/// The code that a request without a response is counted with, as client-go has it.
const NO_RESPONSE: &str = "<error>";

/// The same client, whose requests are counted, for the API server at `host`.
pub(crate) fn counted(client: Client, metrics: &Metrics, host: &str) -> Client {
    let namespace = client.default_namespace().to_owned();
    let valid_until = client.valid_until().to_owned();
    let (metrics, host) = (metrics.clone(), host.to_owned());
    let service = service_fn(move |request: Request<Body>| {
        let (client, metrics, host) = (client.clone(), metrics.clone(), host.clone());
        async move {
            let method = request.method().clone();
            let response: Result<Response<Body>, kube::Error> = client.send(request).await;
            let code = match &response {
                Ok(response) => response.status().as_str().to_owned(),
                Err(_) => NO_RESPONSE.to_owned(),
            };
            metrics.request_sent(&host, method.as_str(), code);
            response.map_err(BoxError::from)
        }
    });
    Client::new(service, namespace).with_valid_until(valid_until)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::{Patch, PatchParams};
    use plumb_testkit::scenario::{Response, Scenario};

    use super::*;

    #[tokio::test]
    async fn requests_are_counted_by_host_method_and_code() {
        let api = Scenario::new();
        api.on("GET", "/api/v1/namespaces/default/configmaps/*", Response::not_found());
        api.on("PATCH", "/api/v1/namespaces/default/configmaps/*", Response::echo());
        let metrics = Metrics::default();
        let client = counted(api.client(), &metrics, "api.example:6443");
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        assert!(maps.get("a").await.is_err() && maps.get("b").await.is_err());
        let empty = serde_json::json!({});
        maps.patch("a", &PatchParams::default(), &Patch::Merge(&empty)).await.unwrap();
        let text = metrics.render();
        for line in [
            r#"rest_client_requests_total{code="404",host="api.example:6443",method="GET"} 2"#,
            r#"rest_client_requests_total{code="200",host="api.example:6443",method="PATCH"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
