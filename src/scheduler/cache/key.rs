//! What is known of an attempt before it runs, and what is remembered of it afterwards.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::definition::Definition;
use super::reason;
use crate::base::{ArtifactId, Digest, escape};
use crate::model::{AccessKind, Influence, Memory, Outcome, RememberedOutput, StagedFile};
use crate::sandbox::{AttemptOrder, AttemptReport};
use crate::store::CacheNote;

/// The maximum number of outputs of an attempt that is remembered.
const MAX_OUTPUTS: usize = 10_000;
/// The most names in a reason.
const MAX_NAMED: usize = 3;

/// What is known of an attempt before it runs.
#[derive(Debug, Clone)]
pub(in crate::scheduler) struct Key {
    /// The digest over the action's name, the component, the params and the grants.
    pub(super) fingerprint: Digest,
    /// The digest over the inputs.
    pub(super) inputs: Digest,
    component: Digest,
    params: Value,
    grants: BTreeMap<String, Digest>,
    ignore: Vec<Influence>,
    /// Why the attempt has to run.
    why: String,
}

impl Key {
    /// Creates the key of an attempt with these inputs.
    pub(super) fn new(order: &AttemptOrder, inputs: Digest) -> Self {
        let params = serde_json::from_str(&order.params).unwrap_or(Value::Null);
        let grants = grants(order);
        let all = json!([order.action, order.component, params, grants]);
        Self {
            fingerprint: Digest::of(all.to_string().as_bytes()),
            inputs,
            component: order.component,
            params,
            grants,
            ignore: order.cache.clone().unwrap_or_default(),
            why: String::new(),
        }
    }

    /// Creates the key of an attempt when the records could not be read.
    pub(super) fn unknown(order: &AttemptOrder, error: &str) -> Self {
        let why = format!("earlier attempts could not be looked up: {error}");
        Self { why, ..Self::new(order, Digest::of(b"")) }
    }

    /// Returns the same key, of an attempt whose earlier result has become obsolete while it was
    /// looked at.
    pub(in crate::scheduler) fn outdated(self) -> Self {
        self.because("an output of the earlier attempt was replaced just now")
    }

    /// Returns the same key with the reason why the attempt has to run.
    pub(super) fn because(self, why: &str) -> Self {
        Self { why: why.to_owned(), ..self }
    }

    /// Returns how a remembered attempt with another fingerprint differs.
    pub(super) fn difference(&self, earlier: &Memory) -> String {
        if earlier.component != self.component {
            let short = |digest: Digest| digest.hex().chars().take(12).collect::<String>();
            return format!("its component changed: {} → {}", short(earlier.component), short(self.component));
        }
        if earlier.params != self.params {
            return format!("params changed: {}", changed_params(&earlier.params, &self.params));
        }
        let names = earlier.grants.keys().chain(self.grants.keys());
        let mut changed: Vec<&str> =
            names.filter(|name| earlier.grants.get(*name) != self.grants.get(*name)).map(String::as_str).collect();
        changed.sort_unstable();
        changed.dedup();
        let changed: Vec<String> = changed.iter().map(|name| format!("`{name}`")).collect();
        format!("the manifest changed: {}", changed.join(", "))
    }

    /// Returns what the cache has to say about an attempt that has run.
    pub(in crate::scheduler) fn note(self, definition: &Definition, report: &AttemptReport) -> CacheNote {
        let skip = match report.outcome {
            Outcome::Done(_) => false,
            Outcome::Skip(_) => true,
            _ => return CacheNote { reason: format!("ran: {}", self.why), memory: None },
        };
        if let Some(why) = self.forbids(definition, report) {
            return CacheNote { reason: format!("not cached: {why}"), memory: None };
        }
        let trace = report.trace.clone().unwrap_or_default();
        let wrote: BTreeMap<ArtifactId, u64> = report
            .accesses
            .iter()
            .filter(|access| access.kind == AccessKind::Wrote)
            .map(|access| (access.artifact_id, access.bytes))
            .collect();
        let output = |file: &StagedFile| RememberedOutput {
            id: file.artifact_id,
            resource: file.resource.clone(),
            path: file.path.clone(),
            digest: file.digest,
            bytes: wrote.get(&file.artifact_id).copied().unwrap_or(file.size),
        };
        let memory = Memory {
            fingerprint: self.fingerprint,
            inputs: self.inputs,
            component: self.component,
            params: self.params,
            grants: self.grants,
            used: trace.used,
            dependencies: trace.dependencies,
            outputs: report.staged.iter().map(output).collect(),
            artifact_tags: report.tags.clone(),
            run_tags: trace.run_tags,
            skip,
        };
        CacheNote { reason: format!("ran: {}", self.why), memory: Some(memory) }
    }

    /// Returns why an attempt cannot be remembered, if it cannot.
    fn forbids(&self, definition: &Definition, report: &AttemptReport) -> Option<String> {
        let Some(trace) = &report.trace else { return Some("what it depends on is not known".to_owned()) };
        let matters: Vec<Influence> = trace.used.iter().copied().filter(|it| !self.ignore.contains(it)).collect();
        if !matters.is_empty() {
            let used = reason::used(&matters);
            let all = Influence::ALL.iter().filter(|it| trace.used.contains(it) || self.ignore.contains(it));
            let all: Vec<String> = all.map(|it| format!("\"{it}\"")).collect();
            let advice = format!("if that does not matter, write `cache = {{ ignore = [{}] }}`", all.join(", "));
            return Some(format!("it used {used}; {advice}"));
        }
        if let Some(why) = &trace.irregular {
            return Some(why.clone());
        }
        if report.staged.len() > MAX_OUTPUTS {
            return Some(format!("it wrote more than {MAX_OUTPUTS} artifacts"));
        }
        let resources = &definition.services.resources;
        let lost = report
            .staged
            .iter()
            .find(|file| resources.get(&file.resource).is_none_or(|resource| !resource.capabilities().keeps))?;
        Some(format!("it wrote to `{}`, where the host cannot look whether it is still there", lost.resource))
    }
}

/// Returns a digest for each key of the manifest that grants the action something. Secrets count by
/// name and source, not by value.
fn grants(order: &AttemptOrder) -> BTreeMap<String, Digest> {
    fn digest(value: &impl Serialize) -> Digest {
        Digest::of(&serde_json::to_vec(value).unwrap_or_default())
    }
    let all = [
        ("reads", digest(&order.reads)),
        ("writes", digest(&order.writes)),
        ("tables", digest(&order.databases)),
        ("args", digest(&order.args)),
        ("stdin", digest(&order.stdin)),
        ("env", digest(&order.env)),
        ("secrets", digest(&(&order.secrets, &order.header_secrets))),
        ("http", digest(&order.http)),
        ("limits", digest(&order.limits)),
    ];
    all.into_iter().map(|(name, digest)| (name.to_owned(), digest)).collect()
}

/// Names the params that have changed, with both values.
fn changed_params(before: &Value, now: &Value) -> String {
    let empty = serde_json::Map::new();
    let [before, now] = [before, now].map(|params| params.as_object().unwrap_or(&empty));
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| before.get(*name) != now.get(*name));
    let shown = |value: Option<&Value>| match value {
        None => "none".to_owned(),
        Some(value) => reason::short(&value.to_string()),
    };
    let mut text = Vec::new();
    for name in names.iter().take(MAX_NAMED) {
        let (was, is) = (shown(before.get(*name)), shown(now.get(*name)));
        text.push(format!("`{}` {was} → {is}", reason::short(&escape(name.as_bytes()))));
    }
    if names.len() > MAX_NAMED {
        text.push(format!("and {} more", names.len() - MAX_NAMED));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_params_are_named_with_both_values() {
        let changed = |before: Value, now: Value| changed_params(&before, &now);
        assert_eq!(changed(json!({ "lr": 0.1, "n": 1 }), json!({ "lr": 0.2, "n": 1 })), "`lr` 0.1 → 0.2");
        assert_eq!(changed(json!({ "a": 1 }), json!({ "b": "x" })), "`a` 1 → none, `b` none → \"x\"");
        let many = |n: u64| json!({ "a": n, "b": n, "c": n, "d": n, "e": n });
        assert_eq!(changed(many(1), many(2)), "`a` 1 → 2, `b` 1 → 2, `c` 1 → 2, and 2 more");
        let long = changed(json!({ "a": "x".repeat(500) }), json!({}));
        assert!(long.len() < 100 && long.ends_with("… → none"), "{long}");
    }
}
