//! Rejects fields that Flux supports and this version does not: all of an object at once, by name. Each spec is taken apart
//! completely, so that a new field is noticed here. What the fields do never enters.

use plumb_api::notification::{AlertSpec, EventSource, ProviderSpec, ReceiverResource, ReceiverSpec};
use plumb_status::{UnsupportedField, UnsupportedFields};

use crate::receiver::RECEIVERS;
use crate::render::PROVIDERS;

/// Whether everything that the Alert sets is honoured.
pub fn alert(spec: &AlertSpec) -> Result<(), UnsupportedFields> {
    let AlertSpec {
        event_metadata: _,
        event_severity: _,
        event_sources,
        exclusion_list: _,
        inclusion_list: _,
        provider_ref: _,
        summary: _,
        suspend: _,
    } = spec;
    let mut fields = Vec::new();
    for (at, source) in event_sources.iter().enumerate() {
        // A source matches whatever API version its kind has, as in Flux.
        let EventSource { api_version: _, kind: _, match_labels, name: _, namespace: _ } = source;
        reject_if(&mut fields, !match_labels.is_empty(), || format!("spec.eventSources[{at}].matchLabels"));
    }
    UnsupportedFields::reject(fields)
}

/// Whether everything that the Provider sets is honoured.
pub fn provider(spec: &ProviderSpec) -> Result<(), UnsupportedFields> {
    let ProviderSpec {
        address: _,
        cert_secret_ref,
        channel: _,
        commit_status_expr,
        // Has no effect in Flux either.
        interval: _,
        proxy,
        proxy_secret_ref,
        secret_ref: _,
        service_account_name,
        suspend: _,
        timeout: _,
        type_,
        username: _,
    } = spec;
    let mut fields = Vec::new();
    reject_type(&mut fields, type_.as_str(), PROVIDERS.iter().map(|known| known.type_));
    for (set, field) in [
        (cert_secret_ref.is_some(), "spec.certSecretRef"),
        (commit_status_expr.is_some(), "spec.commitStatusExpr"),
        (proxy.is_some(), "spec.proxy"),
        (proxy_secret_ref.is_some(), "spec.proxySecretRef"),
        (service_account_name.is_some(), "spec.serviceAccountName"),
    ] {
        reject_if(&mut fields, set, || field.to_owned());
    }
    UnsupportedFields::reject(fields)
}

/// Whether everything that the Receiver sets is honoured.
pub fn receiver(spec: &ReceiverSpec) -> Result<(), UnsupportedFields> {
    let ReceiverSpec {
        events: _,
        interval: _,
        oidc_providers,
        resource_filter,
        resources,
        secret_ref: _,
        suspend: _,
        type_,
    } = spec;
    let mut fields = Vec::new();
    reject_type(&mut fields, type_.as_str(), RECEIVERS.iter().map(|(known, _)| *known));
    reject_if(&mut fields, !oidc_providers.is_empty(), || "spec.oidcProviders".to_owned());
    reject_if(&mut fields, resource_filter.is_some(), || "spec.resourceFilter".to_owned());
    for (at, resource) in resources.iter().enumerate() {
        // Labels choose among all objects of a kind; beside a name Flux passes over them, and so does
        // `Target::resolve`.
        let ReceiverResource { api_version: _, filter, kind: _, match_labels: _, name: _, namespace: _ } =
            resource;
        reject_if(&mut fields, filter.is_some(), || format!("spec.resources[{at}].filter"));
    }
    UnsupportedFields::reject(fields)
}

fn reject_if(fields: &mut Vec<UnsupportedField>, set: bool, field: impl FnOnce() -> String) {
    if set {
        fields.push(UnsupportedField::new(field()));
    }
}

/// The type is required, so the remedy is another one.
fn reject_type(fields: &mut Vec<UnsupportedField>, type_: &str, known: impl Iterator<Item = &'static str>) {
    let known: Vec<_> = known.collect();
    if !known.contains(&type_) {
        let field = UnsupportedField::with_value("spec.type", type_);
        fields.push(field.remedy(format!("use {}", known.join(", "))));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use plumb_status::Detail;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    const NOT_SUPPORTED: &str = "is not supported by this version of Plumb";

    /// The fields of the spec of a kind, as its definition has them.
    fn fields(kind: &str) -> BTreeSet<String> {
        let definitions = plumb_api::crd::all();
        let (_, definition) =
            definitions.iter().find(|(_, definition)| definition["spec"]["names"]["kind"] == kind).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schema["properties"]["spec"]["properties"].as_object().unwrap().keys().cloned().collect()
    }

    /// Sets each field in turn on what is honoured as it is: empty, or the field that is refused. No field of the kind
    /// may be left out.
    #[track_caller]
    fn check<S: DeserializeOwned>(
        kind: &str,
        judge: fn(&S) -> Result<(), UnsupportedFields>,
        least: &Value,
        rows: &[(&str, Value, &str)],
    ) {
        for (field, value, refused) in rows {
            let mut spec = least.clone();
            spec[*field] = value.clone();
            let spec: S = serde_json::from_value(spec).unwrap_or_else(|error| panic!("{field}: {error}"));
            let said = judge(&spec).map_or_else(|unsupported| unsupported.to_string(), |()| String::new());
            let expect =
                if refused.is_empty() { String::new() } else { format!("{refused} {NOT_SUPPORTED}") };
            assert_eq!(said, expect, "{field}");
        }
        let named: BTreeSet<_> = rows.iter().map(|(field, ..)| (*field).to_owned()).collect();
        assert_eq!(named, fields(kind), "every field has a row");
    }

    #[test]
    fn every_field_of_an_alert_is_honoured_or_refused() {
        let source = json!({ "kind": "Kustomization", "name": "*" });
        let least = json!({ "providerRef": { "name": "p" }, "eventSources": [source] });
        check(
            "Alert",
            alert,
            &least,
            &[
                ("eventMetadata", json!({ "a": "b" }), ""),
                ("eventSeverity", json!("error"), ""),
                (
                    "eventSources",
                    json!([{ "kind": "Bucket", "name": "a", "namespace": "b", "apiVersion": "v1" }]),
                    "",
                ),
                (
                    "eventSources",
                    json!([source, { "kind": "Bucket", "name": "*", "matchLabels": { "a": "b" } }]),
                    "spec.eventSources[1].matchLabels",
                ),
                ("exclusionList", json!(["a"]), ""),
                ("inclusionList", json!(["a"]), ""),
                ("providerRef", json!({ "name": "q" }), ""),
                ("summary", json!("a"), ""),
                ("suspend", json!(true), ""),
            ],
        );
    }

    #[test]
    fn every_field_of_a_provider_is_honoured_or_refused() {
        let least = json!({ "type": "generic" });
        check(
            "Provider",
            provider,
            &least,
            &[
                ("type", json!("generic-hmac"), ""),
                ("type", json!("slack"), ""),
                ("type", json!("discord"), "spec.type \"discord\""),
                ("address", json!("http://h"), ""),
                ("certSecretRef", json!({ "name": "a" }), "spec.certSecretRef"),
                ("channel", json!("a"), ""),
                ("commitStatusExpr", json!("a"), "spec.commitStatusExpr"),
                ("interval", json!("1m"), ""),
                ("proxy", json!("http://p"), "spec.proxy"),
                ("proxySecretRef", json!({ "name": "a" }), "spec.proxySecretRef"),
                ("secretRef", json!({ "name": "a" }), ""),
                ("serviceAccountName", json!("a"), "spec.serviceAccountName"),
                ("suspend", json!(true), ""),
                ("timeout", json!("3s"), ""),
                ("username", json!("a"), ""),
            ],
        );
    }

    #[test]
    fn every_field_of_a_receiver_is_honoured_or_refused() {
        let resource = json!({ "kind": "GitRepository", "name": "a" });
        let least = json!({ "type": "github", "resources": [resource] });
        let issuer =
            json!({ "issuerURL": "https://i", "validations": [{ "expression": "true", "message": "m" }] });
        check(
            "Receiver",
            receiver,
            &least,
            &[
                ("type", json!("generic"), ""),
                ("type", json!("generic-hmac"), ""),
                ("type", json!("gitlab"), "spec.type \"gitlab\""),
                ("events", json!(["push"]), ""),
                ("interval", json!("1m"), ""),
                ("oidcProviders", json!([issuer]), "spec.oidcProviders"),
                ("resourceFilter", json!("true"), "spec.resourceFilter"),
                (
                    "resources",
                    json!([{ "kind": "Bucket", "name": "a", "namespace": "b", "apiVersion": "v1" }]),
                    "",
                ),
                (
                    "resources",
                    json!([{ "kind": "Bucket", "name": "a", "filter": "true" }]),
                    "spec.resources[0].filter",
                ),
                (
                    "resources",
                    json!([resource, { "kind": "Bucket", "name": "*", "matchLabels": { "a": "b" } }]),
                    "",
                ),
                ("resources", json!([{ "kind": "Bucket", "name": "a", "matchLabels": { "a": "b" } }]), ""),
                ("secretRef", json!({ "name": "a" }), ""),
                ("suspend", json!(true), ""),
            ],
        );
    }

    #[test]
    fn all_unsupported_fields_are_named_at_once_with_a_remedy() {
        let spec = json!({ "type": "discord", "proxy": "http://p", "serviceAccountName": "a" });
        let error = provider(&serde_json::from_value(spec).unwrap()).unwrap_err();
        assert_eq!(
            Detail::of(&error).message,
            "spec.type \"discord\", spec.proxy and spec.serviceAccountName are not supported by this version of Plumb \
             (remove spec.proxy, spec.serviceAccountName; spec.type: use generic, generic-hmac, slack)"
        );
        let spec = json!({
            "type": "gitlab", "resourceFilter": "true",
            "resources": [{ "kind": "Bucket", "name": "a", "filter": "true" }]
        });
        let error = receiver(&serde_json::from_value(spec).unwrap()).unwrap_err();
        assert_eq!(
            Detail::of(&error).message,
            "spec.type \"gitlab\", spec.resourceFilter and spec.resources[0].filter are not supported by this version of \
             Plumb (remove spec.resourceFilter, spec.resources[0].filter; spec.type: use generic, generic-hmac, github)"
        );
    }
}
