//! Reloads the manifest and the components while the host is running.
//!
//! The slow parts (reading, compiling) run outside the dispatcher, which then replaces the
//! definition between two messages. A run is bound to a revision from its creation on. So only
//! later runs use the new revision, and active runs are not affected.
//!
//! Parts that are not in a definition cannot be replaced in this way: the store, the server, the
//! sandbox, which has room for a fixed number of guests, and the resources, whose watchers are
//! running. A manifest that changes one of these is refused, with an error that names it.
//!
//! Rejected: restarting the watchers of changed resources. Artifacts on record belong to a resource
//! by its name, and only a restart of the host, which reconciles them, decides what a changed
//! folder means.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::control::InForce;
use super::error::StartError;
use super::library::RevisionBuilder;
use super::messages::Message;
use super::shared::stopping;
use crate::manifest::{Pipeline, ResourceSpec, Trigger};

/// Why a reload failed. The old manifest and components are still in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The manifest differs in something that only a restart can change.
    #[error("{} can only change with a restart", keys.join(", "))]
    NeedsRestart {
        /// The keys of the manifest that differ.
        keys: Vec<String>,
    },
    /// The manifest cannot be run.
    #[error(transparent)]
    Unusable(#[from] StartError),
}

/// Reloads manifests; see the module.
#[derive(Clone)]
pub(super) struct Reloader {
    builder: RevisionBuilder,
    in_force: watch::Receiver<InForce>,
    dispatcher: mpsc::Sender<Message>,
    /// Held until the manifest is in force, so that its components are not removed as unneeded
    /// meanwhile.
    binding: Arc<Mutex<()>>,
}

impl Reloader {
    pub(super) fn new(
        builder: RevisionBuilder,
        in_force: watch::Receiver<InForce>,
        dispatcher: mpsc::Sender<Message>,
        binding: Arc<Mutex<()>>,
    ) -> Self {
        Self { builder, in_force, dispatcher, binding }
    }

    /// See [`super::Host::reload`].
    pub(super) async fn reload(&self, pipeline: Pipeline) -> Result<(), ReloadError> {
        let keys = fixed_differences(&self.in_force.borrow().pipeline, &pipeline);
        if !keys.is_empty() {
            return Err(ReloadError::NeedsRestart { keys });
        }
        let _binding = self.binding.lock().await;
        let bound = Box::new(self.builder.bind(pipeline).await?);
        let (answer, answered) = oneshot::channel();
        self.dispatcher.send(Message::Reload { bound, answer }).await.map_err(|_| StartError::from(stopping()))?;
        Ok(answered.await.unwrap_or_else(|_| Err(stopping().into()))?)
    }
}

/// Returns the differences between the manifest in force and the next one that a reload cannot
/// apply, as keys of the manifest.
fn fixed_differences(now: &Pipeline, next: &Pipeline) -> Vec<String> {
    let server = |it: &Pipeline| {
        let urls = (it.public_url.clone(), it.base_path.clone());
        (it.listen, it.hosts.clone(), it.insecure, it.tls.clone(), it.token, urls)
    };
    let mut keys: Vec<String> = [
        ("`pipeline.name`", now.name != next.name),
        ("`server`", server(now) != server(next)),
        ("`pipeline.state`", now.state != next.state),
        ("`pipeline.logs`", now.max_log_bytes != next.max_log_bytes),
        ("`pipeline.max_concurrent_actions`", now.max_concurrent_actions != next.max_concurrent_actions),
        ("`retention`", now.retention != next.retention),
        ("`notify`", now.notify != next.notify),
        ("`openlineage`", now.openlineage != next.openlineage),
        ("`metadata_store`", (&now.store, now.durability) != (&next.store, next.durability)),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(key, _)| key.to_owned())
    .collect();
    // Triggers are evaluated from scratch each time, and a run has the manifest that it began with,
    // so these may change. What is watched, and where it is, may not.
    let fixed = |it: &ResourceSpec| ResourceSpec { trigger: Trigger::default(), model: None, ..it.clone() };
    let names = now.resources.iter().chain(next.resources.iter().filter(|it| now.resource(&it.name).is_none()));
    for name in names.map(|it| &it.name) {
        if now.resource(name).map(fixed) != next.resource(name).map(fixed) {
            keys.push(format!("`resources.{name}`"));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::fixed_differences;
    use crate::manifest::{Pipeline, parse_pinned};

    const MANIFEST: &str = r#"
        manifest_version = 1
        [pipeline]
        name = "p"
        [resources.raw]
        kind = "folder"
        path = "raw"
        watch = true
        [actions.work]
        component = "work.wasm"
        after = ["raw"]
        reads = ["raw"]
    "#;

    fn pipeline(text: &str) -> Pipeline {
        parse_pinned(text, Path::new("/p"), Path::new("/p/anacostia.toml"), &|_| None).unwrap()
    }

    fn after(edits: &[(&str, &str)]) -> Vec<String> {
        let text = edits.iter().fold(MANIFEST.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        fixed_differences(&pipeline(MANIFEST), &pipeline(&text))
    }

    #[test]
    fn actions_params_limits_and_triggers_can_change() {
        let work = "reads = [\"raw\"]";
        assert_eq!(after(&[(work, "reads = [\"raw\"]\nparams = { a = 1 }\nlimits = { cpu = \"1s\" }")]), [""; 0]);
        assert_eq!(
            after(&[("[actions.work]", "[actions.more]\ncomponent = \"x.wasm\"\nafter = [\"work\"]\n[actions.work]")]),
            [""; 0]
        );
        assert_eq!(after(&[("watch = true", "watch = true\ntrigger = { min_artifacts = 3 }")]), [""; 0]);
        assert_eq!(after(&[("name = \"p\"", "name = \"p\"\njoin = \"any\"\nmax_concurrent_runs = 3")]), [""; 0]);
        assert_eq!(after(&[("[actions.work]", "[triggers.nightly]\nevery = \"1h\"\n[actions.work]")]), [""; 0]);
        assert_eq!(after(&[("name = \"p\"", "name = \"p\"\nparams_schema = { type = \"object\" }")]), [""; 0]);
    }

    #[test]
    fn changes_that_need_a_restart_are_named() {
        assert_eq!(after(&[("\"p\"", "\"q\"")]), ["`pipeline.name`"]);
        assert_eq!(after(&[("[resources.raw]", "[server]\nlisten = \"127.0.0.1:1\"\n[resources.raw]")]), ["`server`"]);
        let store = "[metadata_store]\nkind = \"sqlite\"\ndurability = \"full\"\n[resources.raw]";
        assert_eq!(after(&[("[resources.raw]", store)]), ["`metadata_store`"]);
        assert_eq!(after(&[("name = \"p\"", "name = \"p\"\nstate = \"kept\"")]), ["`pipeline.state`"]);
        assert_eq!(after(&[("name = \"p\"", "name = \"p\"\nlogs = \"2GiB\"")]), ["`pipeline.logs`"]);
        let actions = "name = \"p\"\nmax_concurrent_actions = 4";
        assert_eq!(after(&[("name = \"p\"", actions)]), ["`pipeline.max_concurrent_actions`"]);
        assert_eq!(after(&[("path = \"raw\"", "path = \"other\"")]), ["`resources.raw`"]);
        let notify = "[notify.ops]\nkind = \"slack\"\nurl = \"env:URL\"\non = [\"run_failed\"]\n[resources.raw]";
        assert_eq!(after(&[("[resources.raw]", notify)]), ["`notify`"]);
        let lineage = "[openlineage.out]\npath = \"lineage.jsonl\"\n[resources.raw]";
        assert_eq!(after(&[("[resources.raw]", lineage)]), ["`openlineage`"]);
        let retention = "[retention]\nruns = { keep_last = 9 }\n[resources.raw]";
        assert_eq!(after(&[("[resources.raw]", retention)]), ["`retention`"]);
        let url = "[server]\npublic_url = \"https://a.example.com\"\n[resources.raw]";
        assert_eq!(after(&[("[resources.raw]", url)]), ["`server`"]);
        let more = "[resources.new]\nkind = \"folder\"\npath = \"new\"\n[resources.raw]";
        assert_eq!(
            after(&[
                ("[resources.raw]", more),
                ("\"raw\"\n        watch", "\"raw\"\n        include = [\"*.csv\"]\n        watch")
            ]),
            ["`resources.raw`", "`resources.new`"]
        );
    }
}
