//! Formats a checked pipeline in a few lines, for `anacostia check`.

use std::fmt::Write as _;
use std::path::Path;

use super::{Cell, Column, Table, plural, styles};
use crate::base::TimeSpan;
use crate::graph::Graph;
use crate::manifest::{
    ActionSpec, Condition, LineageTarget, Pipeline, ResourceSpec, RunWhen, SecretSource, Trigger, UrlSource,
};

/// Formats the resources and the actions, actions in execution order, for a terminal with `width`
/// columns.
pub(crate) fn pipeline_summary(pipeline: &Pipeline, width: usize) -> String {
    let count = |number: usize, what| plural(u64::try_from(number).unwrap_or(u64::MAX), what);
    let mut text = format!(
        "{} {}: {}, {}\n",
        Cell::new("✓").style(styles::GOOD),
        Cell::new(&pipeline.name).style(styles::STRONG),
        count(pipeline.resources.len(), "resource"),
        count(pipeline.actions.len(), "action"),
    );
    let _ = write!(text, "\n{}", store_and_resources(pipeline, width));
    if !pipeline.resources.is_empty() {
        let names = ignored_names(pipeline, width);
        if !names.is_empty() {
            let _ = write!(text, "\n{names}");
        }
    }
    if !pipeline.triggers.is_empty() {
        let _ = write!(text, "\n{}", triggers(pipeline, width));
    }
    let _ = write!(text, "\n{}", actions(pipeline, width));
    if !pipeline.concurrency.is_empty() {
        let _ = write!(text, "\n{}", concurrency(pipeline, width));
    }
    if !pipeline.notify.is_empty() {
        let _ = write!(text, "\n{}", receivers(pipeline, width));
    }
    if !pipeline.openlineage.is_empty() {
        let _ = write!(text, "\n{}", lineage(pipeline, width));
    }
    text
}

/// Returns a path for display: relative to the manifest's folder if it is in that folder.
pub(super) fn short(path: &Path, pipeline: &Pipeline) -> String {
    path.strip_prefix(&pipeline.folder).unwrap_or(path).display().to_string()
}

/// Returns the place of a resource for display: what `${…}` stands for is not shown.
pub(super) fn place(resource: &ResourceSpec, pipeline: &Pipeline) -> String {
    let location = || short(Path::new(&resource.location()), pipeline);
    pipeline.unexpanded_place(resource).unwrap_or_else(location)
}

fn store_and_resources(pipeline: &Pipeline, width: usize) -> String {
    let mut table = Table::new(&[
        ("NODE", Column::Prose),
        ("KIND", Column::Word),
        ("PLACE", Column::Path),
        ("STARTS A RUN", Column::Prose),
    ]);
    table.row(vec![
        Cell::new("(metadata store)").style(styles::FAINT),
        Cell::new(pipeline.store.kind()),
        Cell::new(short(Path::new(&pipeline.store.location()), pipeline)),
    ]);
    for resource in &pipeline.resources {
        table.row(vec![
            Cell::new(&resource.name).style(styles::STRONG),
            Cell::new(resource.kind()),
            Cell::new(place(resource, pipeline)),
            Cell::new(trigger(resource)),
        ]);
    }
    table.render(width)
}

/// The ignored names. Resources with the same list share a line.
fn ignored_names(pipeline: &Pipeline, width: usize) -> String {
    let mut lists: Vec<(&[String], Vec<&str>)> = Vec::new();
    for resource in &pipeline.resources {
        let Some(ignore) = resource.ignore() else { continue };
        match lists.iter_mut().find(|(list, _)| *list == ignore) {
            Some((_, names)) => names.push(&resource.name),
            None => lists.push((ignore, vec![&resource.name])),
        }
    }
    if lists.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[("RESOURCE", Column::Prose), ("IGNORES THE NAMES", Column::Prose)]);
    for (list, names) in lists {
        let list = if list.is_empty() { "none".to_owned() } else { list.join(" ") };
        table.row(vec![Cell::new(names.join(", ")).style(styles::STRONG), Cell::new(list)]);
    }
    table.render(width)
}

/// Describes when a resource starts a run.
fn trigger(resource: &ResourceSpec) -> String {
    if !resource.watch {
        return "no, not watched".to_owned();
    }
    let Trigger { min_artifacts, max_artifacts, min_bytes, quiet_for, max_wait, group_by, when, .. } =
        &resource.trigger;
    let mut parts = vec![format!("at {}", plural(*min_artifacts, "new artifact"))];
    if *min_bytes > 0 {
        parts.push(format!("at {}", crate::base::ByteSize(*min_bytes)));
    }
    if !quiet_for.is_zero() {
        parts.push(format!("when quiet for {}", TimeSpan(*quiet_for)));
    }
    parts.extend(when.iter().map(Condition::describe));
    let mut text = parts.join(" and ");
    if let Some(wait) = max_wait {
        let _ = write!(text, ", or after {}", TimeSpan(*wait));
    }
    if let Some(pattern) = group_by {
        let _ = write!(text, "; for each group of {}", pattern.as_str());
    }
    if let Some(most) = max_artifacts {
        let _ = write!(text, "; takes at most {most}");
    }
    text
}

/// The triggers that are not those of a resource.
fn triggers(pipeline: &Pipeline, width: usize) -> String {
    let mut table = Table::new(&[("TRIGGER", Column::Prose), ("STARTS A RUN", Column::Prose)]);
    for trigger in &pipeline.triggers {
        let when: Vec<String> = trigger.when.iter().map(Condition::describe).collect();
        table.row(vec![Cell::new(&trigger.name).style(styles::STRONG), Cell::new(when.join(" and "))]);
    }
    table.render(width)
}

/// Who is told about what.
fn receivers(pipeline: &Pipeline, width: usize) -> String {
    let mut table = Table::new(&[("NOTIFIES", Column::Prose), ("BY", Column::Word), ("ABOUT", Column::Prose)]);
    for it in &pipeline.notify {
        let silence = it.nothing_new_for.map(|span| format!("nothing new for {}", TimeSpan(span)));
        let mut about: Vec<String> =
            it.on.iter().map(|cause| cause.as_str().replace('_', " ")).chain(silence).collect();
        about.extend((!it.resources.is_empty()).then(|| format!("in {} only", it.resources.join(" and "))));
        about.extend(it.action.as_ref().map(|action| format!("runs by {action} only")));
        table.row(vec![
            Cell::new(&it.name).style(styles::STRONG),
            Cell::new(it.channel.kind()),
            Cell::new(about.join(", ")),
        ]);
    }
    table.render(width)
}

/// Who gets OpenLineage events.
fn lineage(pipeline: &Pipeline, width: usize) -> String {
    let mut table = Table::new(&[("OPENLINEAGE", Column::Prose), ("NAMESPACE", Column::Prose), ("TO", Column::Path)]);
    for it in &pipeline.openlineage {
        let to = match &it.target {
            LineageTarget::File { path } => short(path, pipeline),
            LineageTarget::Http { url: UrlSource::Plain(url), .. } => url.clone(),
            LineageTarget::Http { url: UrlSource::Secret(SecretSource::Env(name)), .. } => format!("env:{name}"),
        };
        table.row(vec![Cell::new(&it.name).style(styles::STRONG), Cell::new(&it.namespace), Cell::new(to)]);
    }
    table.render(width)
}

fn actions(pipeline: &Pipeline, width: usize) -> String {
    let mut table = Table::new(&[
        ("ACTION", Column::Prose),
        ("AFTER", Column::Prose),
        ("READS", Column::Prose),
        ("WRITES", Column::Prose),
        ("NETWORK", Column::Prose),
        ("COMPONENT", Column::Path),
        ("RUNS", Column::Prose),
    ]);
    let graph = Graph::of(pipeline);
    for action in graph.order().iter().filter_map(|place| pipeline.actions.get(*place)) {
        table.row(vec![
            Cell::new(&action.name).style(styles::STRONG),
            Cell::new(action.after.join(", ")),
            Cell::new(action.reads.join(", ")),
            Cell::new(action.writes.join(", ")),
            Cell::new(action.http.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            Cell::new(short(&action.component, pipeline)),
            Cell::new(when(action)),
        ]);
    }
    table.render(width)
}

/// The named limits.
fn concurrency(pipeline: &Pipeline, width: usize) -> String {
    let mut table = Table::new(&[("LIMIT", Column::Prose), ("AT ONCE", Column::Number), ("USED BY", Column::Prose)]);
    for (name, limit) in &pipeline.concurrency {
        let users = pipeline.actions.iter().filter(|action| action.uses.contains(name));
        let users: Vec<&str> = users.map(|action| action.name.as_str()).collect();
        let users = if users.is_empty() { "no action".to_owned() } else { users.join(", ") };
        let limit = Cell::new(limit.to_string());
        table.row(vec![Cell::new(name).style(styles::STRONG), limit, Cell::new(users)]);
    }
    table.render(width)
}

/// Describes when an action runs, beyond its place in the graph.
fn when(action: &ActionSpec) -> String {
    let when = match action.run_when {
        RunWhen::AllSucceeded => None,
        RunWhen::AllDone => Some("however those before it end".to_owned()),
        RunWhen::AnyFailed => Some("when one before it fails".to_owned()),
    };
    let approval = action.approval.as_ref().map(|it| match it.timeout {
        None => format!("once approved: {}", it.who),
        Some(timeout) => format!("once approved, within {}: {}", TimeSpan(timeout), it.who),
    });
    when.into_iter().chain(approval).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::pipeline_summary;
    use crate::manifest::{
        ActionSpec, AfterRun, ApprovalSpec, Condition, FolderSpec, Join, Limits, Pipeline, ResourceKind, ResourceSpec,
        Retention, Retry, RunWhen, StoreSpec, Trigger, TriggerSpec,
    };
    use crate::model::Durability;

    fn resource(name: &str, watch: bool, trigger: Trigger) -> ResourceSpec {
        let folder = FolderSpec {
            path: PathBuf::from(format!("/pipeline/data/{name}")),
            include: vec![],
            exclude: vec![],
            ignore: FolderSpec::default_ignore(),
            settle: Duration::from_secs(2),
            rescan: Duration::from_mins(1),
        };
        ResourceSpec { name: name.to_owned(), kind: ResourceKind::Folder(folder), watch, trigger, model: None }
    }

    fn action(name: &str, after: &[&str], run_when: RunWhen) -> ActionSpec {
        ActionSpec {
            name: name.to_owned(),
            component: PathBuf::from(format!("/pipeline/{name}.wasm")),
            digest: None,
            build: None,
            after: after.iter().map(|name| (*name).to_owned()).collect(),
            reads: vec!["raw".to_owned()],
            writes: vec![],
            tables: BTreeMap::new(),
            retrigger: false,
            params: serde_json::Map::new(),
            args: Vec::new(),
            stdin: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            header_secrets: BTreeMap::new(),
            http: Vec::new(),
            uses: vec![],
            limits: Limits::default(),
            retry: Retry::default(),
            run_when,
            approval: None,
            cache: None,
        }
    }

    pub(crate) fn sample() -> Pipeline {
        let patient = Trigger {
            min_artifacts: 3,
            max_artifacts: Some(10),
            min_bytes: 1 << 20,
            quiet_for: Duration::from_secs(5),
            max_wait: Some(Duration::from_mins(10)),
            group_by: None,
            when: vec![Condition::Every(Duration::from_hours(1))],
            retrigger: false,
        };
        Pipeline {
            name: "penguins".to_owned(),
            folder: PathBuf::from("/pipeline"),
            file: PathBuf::from("/pipeline/anacostia.toml"),
            text: String::new(),
            tables: std::sync::Arc::default(),
            join: Join::All,
            max_concurrent_runs: 1,
            max_concurrent_actions: 16,
            params: serde_json::Map::new(),
            params_schema: None,
            concurrency: BTreeMap::from([("api".to_owned(), 4), ("gpu".to_owned(), 1)]),
            listen: "127.0.0.1:8000".parse().unwrap(),
            hosts: Vec::new(),
            base_path: String::new(),
            tls: None,
            insecure: false,
            token: None,
            public_url: None,
            store: StoreSpec::Sqlite { path: PathBuf::from("/pipeline/state/metadata.db") },
            durability: Durability::Normal,
            state: PathBuf::from("/pipeline/state"),
            max_log_bytes: 1 << 30,
            retention: Retention::default(),
            resources: vec![
                resource("raw", true, patient),
                resource("labels", true, Trigger::default()),
                resource("models", false, Trigger::default()),
            ],
            actions: vec![
                ActionSpec {
                    approval: Some(ApprovalSpec {
                        who: "data team".to_owned(),
                        timeout: Some(Duration::from_hours(36)),
                    }),
                    ..action("report", &["train"], RunWhen::AllDone)
                },
                ActionSpec {
                    uses: vec!["gpu".to_owned()],
                    ..action("train", &["raw", "labels"], RunWhen::AllSucceeded)
                },
            ],
            triggers: vec![TriggerSpec {
                name: "repair".to_owned(),
                when: vec![Condition::AfterRun(AfterRun::Failed)],
                retrigger: false,
            }],
            notify: Vec::new(),
            openlineage: Vec::new(),
        }
    }

    #[test]
    fn a_pipeline_is_shown_in_execution_order() {
        let text = [120, 60].map(|width| pipeline_summary(&sample(), width)).join("\n────\n\n");
        insta::assert_snapshot!(anstream::adapter::strip_str(&text));
    }
}
