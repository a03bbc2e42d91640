//! What Flux honours and this version does not is refused, by name, and never ignored. Each spec is taken apart completely, so
//! that a new field is noticed here. What the fields do never enters.

use plumb_api::notification::{AlertSpec, EventSource, ProviderSpec, ReceiverResource, ReceiverSpec};
use plumb_status::{Classify, Consequence, Reason};

use crate::receiver::RECEIVERS;
use crate::render::PROVIDERS;

/// A field that is set and not honoured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is not supported by this version of Plumb{}", value.as_ref().map(|value| format!(": {value:?}")).unwrap_or_default())]
pub struct Unsupported {
    /// Its path.
    pub field: String,
    /// Its value, where only this value is refused.
    pub value: Option<String>,
}

impl Classify for Unsupported {
    fn reason(&self) -> Reason {
        Reason::UnsupportedField
    }

    fn consequence(&self) -> Consequence {
        Consequence::Stall
    }
}

/// Whether everything that the Alert sets is honoured.
pub fn alert(spec: &AlertSpec) -> Result<(), Unsupported> {
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
    for (at, source) in event_sources.iter().enumerate() {
        // A source matches whatever API version its kind has, as in Flux.
        let EventSource { api_version: _, kind: _, match_labels, name: _, namespace: _ } = source;
        refuse_if(!match_labels.is_empty(), || format!("spec.eventSources[{at}].matchLabels"))?;
    }
    Ok(())
}

/// Whether everything that the Provider sets is honoured.
pub fn provider(spec: &ProviderSpec) -> Result<(), Unsupported> {
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
    let honoured = PROVIDERS.iter().any(|known| known.type_ == type_.as_str());
    refuse_value_unless(honoured, "spec.type", type_.as_str())?;
    refuse_if(cert_secret_ref.is_some(), || "spec.certSecretRef".to_owned())?;
    refuse_if(commit_status_expr.is_some(), || "spec.commitStatusExpr".to_owned())?;
    refuse_if(proxy.is_some(), || "spec.proxy".to_owned())?;
    refuse_if(proxy_secret_ref.is_some(), || "spec.proxySecretRef".to_owned())?;
    refuse_if(service_account_name.is_some(), || "spec.serviceAccountName".to_owned())
}

/// Whether everything that the Receiver sets is honoured.
pub fn receiver(spec: &ReceiverSpec) -> Result<(), Unsupported> {
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
    let honoured = RECEIVERS.iter().any(|(known, _)| *known == type_.as_str());
    refuse_value_unless(honoured, "spec.type", type_.as_str())?;
    refuse_if(!oidc_providers.is_empty(), || "spec.oidcProviders".to_owned())?;
    refuse_if(resource_filter.is_some(), || "spec.resourceFilter".to_owned())?;
    for (at, resource) in resources.iter().enumerate() {
        // Labels choose among all objects of a kind; beside a name Flux passes over them, and so does
        // `Target::resolve`.
        let ReceiverResource { api_version: _, filter, kind: _, match_labels: _, name: _, namespace: _ } =
            resource;
        refuse_if(filter.is_some(), || format!("spec.resources[{at}].filter"))?;
    }
    Ok(())
}

fn refuse_if(set: bool, field: impl FnOnce() -> String) -> Result<(), Unsupported> {
    if set { Err(Unsupported { field: field(), value: None }) } else { Ok(()) }
}

fn refuse_value_unless(honoured: bool, field: &str, value: &str) -> Result<(), Unsupported> {
    if honoured {
        Ok(())
    } else {
        Err(Unsupported { field: field.to_owned(), value: Some(value.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

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
        judge: fn(&S) -> Result<(), Unsupported>,
        least: &Value,
        rows: &[(&str, Value, &str)],
    ) {
        for (field, value, refused) in rows {
            let mut spec = least.clone();
            spec[*field] = value.clone();
            let spec: S = serde_json::from_value(spec).unwrap_or_else(|error| panic!("{field}: {error}"));
            let said = judge(&spec).map_or_else(|unsupported| unsupported.field, |()| String::new());
            assert_eq!(said, *refused, "{field}");
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
                ("type", json!("discord"), "spec.type"),
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
                ("type", json!("gitlab"), "spec.type"),
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
    fn the_refusal_names_field_and_value() {
        let spec = serde_json::from_value(json!({ "type": "discord" })).unwrap();
        let said = provider(&spec).unwrap_err().to_string();
        assert_eq!(said, "spec.type is not supported by this version of Plumb: \"discord\"");
    }
}
