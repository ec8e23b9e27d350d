//! Asks trigger components, and notes their answers.
//!
//! Each question runs in a task of its own, which sends the answer back, so the dispatcher
//! continues however long a component takes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::answered::{AnswerEnd, Question};
use super::at_work::AtWork;
use super::core::{Ask, Asked, Said, all_new};
use super::definition::{Definition, triggers};
use super::dispatcher::Dispatcher;
use crate::base::bounds::cut;
use crate::base::{Digest, Timestamp};
use crate::manifest::{Condition, Decider, Pipeline};
use crate::model::{ErrorInfo, LogLevel, LogLine, LogStream};
use crate::sandbox::{Decision, DecisionOrder};

/// Maximum length of an error in a tick, in bytes. The host's log has the full text.
const MAX_ERROR_BYTES: usize = 500;

impl Dispatcher {
    /// Asks components. There is at most one question for each trigger at a time.
    pub(super) fn ask(&mut self, asks: &[Ask], work: &mut AtWork) {
        let definition = self.library.current().clone();
        let paused = self.shared.pauses.resources();
        for ask in asks {
            let order = order(&definition, ask, &paused, self.history.fired_at(&ask.asked));
            let now = self.shared.clock.moment();
            let answers = self.history.answers_mut();
            let number = answers.ask(ask.asked.clone(), ask.basis.clone());
            let Some(order) = order else {
                // Checking the manifest prevents this. Still, a question without an answer would be
                // asked again at once.
                let said = Said::Failed("failed: its component is not loaded".to_owned());
                answers.answer(&ask.asked, number, said, Duration::ZERO, now);
                continue;
            };
            let (asked, name, component) = (ask.asked.clone(), ask.name.clone(), order.component);
            let (executor, services) = (Arc::clone(&self.shared.executor), definition.services.clone());
            let answer = async move { executor.decide(order, &services).await };
            work.ask(Question { asked, name, number, component }, answer);
        }
    }

    /// Notes an answer. Writes its log lines if it differs from the previous answer.
    pub(super) fn answered(&mut self, end: AnswerEnd, work: &mut AtWork) {
        let Some((question, report)) = work.remove_question(end) else { return };
        let Question { asked, name, number, component } = question;
        let said = match &report.decision {
            Ok(Decision::Fire(reason)) => Said::Fire(reason.clone()),
            Ok(Decision::Skip { reason, ask_again }) => Said::Skip { reason: reason.clone(), ask_again: *ask_again },
            Err(error) => Said::Failed(shown(error)),
        };
        let now = self.shared.clock.moment();
        if !self.history.answers_mut().answer(&asked, number, said, report.took, now) {
            // A component may be asked ten times a second, and repeated answers must not fill the
            // disk.
            return;
        }
        for line in &report.lines {
            log(&name, line);
        }
        if let Err(ErrorInfo { code, message, .. }) = &report.decision {
            tracing::warn!("{name} ({component}) failed to decide, and will be asked again: {code}: {message}");
        }
    }

    /// Returns the answerers of the trigger components in force, by the key of their answers.
    pub(super) fn answerable(&self) -> BTreeMap<Asked, Answerer> {
        let definition = self.library.current();
        answerers(&definition.pipeline, &definition.components)
    }

    /// Forgets the answers of components that have been replaced since `before`, or whose params
    /// have changed.
    pub(super) fn forget_answers(&mut self, before: &BTreeMap<Asked, Answerer>) {
        let now = self.answerable();
        self.history.answers_mut().retain(|asked| before.get(asked) == now.get(asked));
    }
}

/// What determines the answers of a trigger component. If it changes, earlier answers are void.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answerer {
    component: Option<Digest>,
    params: String,
}

/// Returns the answerer of each trigger component, by the key of its answers.
fn answerers(pipeline: &Pipeline, components: &BTreeMap<String, Digest>) -> BTreeMap<Asked, Answerer> {
    let all = triggers(pipeline)
        .flat_map(|(name, when)| when.iter().flat_map(Condition::flat).map(move |condition| (name, condition)));
    let answerer = |decider: &Decider| Answerer {
        component: components.get(&decider.name).copied(),
        params: params(pipeline, decider),
    };
    all.filter_map(|(name, condition)| Some(((name.to_owned(), condition.describe()), answerer(condition.decider()?))))
        .collect()
}

/// Returns the merged params of a component, a JSON object as text.
fn params(pipeline: &Pipeline, decider: &Decider) -> String {
    serde_json::Value::Object(pipeline.params_with(&decider.params)).to_string()
}

/// Returns what to ask. `None` if the definition lacks the component, which a plan of the same
/// definition excludes.
fn order(
    definition: &Definition,
    ask: &Ask,
    paused: &BTreeMap<String, String>,
    fired_at: Option<Timestamp>,
) -> Option<DecisionOrder> {
    let pipeline = &definition.pipeline;
    let decider = pipeline.deciders().find(|decider| decider.name == ask.name)?;
    let (table, resources) = if let Some(resource) = &ask.resource {
        (format!("resources.{resource}.trigger"), vec![resource.clone()])
    } else {
        // The component sees what its run would claim.
        let claims = all_new(pipeline, paused);
        (format!("triggers.{}", ask.asked.0), claims.into_iter().map(|claim| claim.resource).collect())
    };
    Some(DecisionOrder {
        pipeline: pipeline.name.clone(),
        trigger: ask.asked.0.clone(),
        table,
        resources,
        fired_at,
        component: *definition.components.get(&decider.name)?,
        params: params(pipeline, decider),
        limits: decider.limits.clone(),
    })
}

/// Returns an error on one line, without the frames of a trap.
fn shown(error: &ErrorInfo) -> String {
    let message = error.message.split("\n  at ").next().unwrap_or_default();
    let line = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    cut(&format!("{}: {line}", error.code), MAX_ERROR_BYTES).into_owned()
}

/// Writes a line of a component to the host's log.
fn log(name: &str, line: &LogLine) {
    let mut text = format!("{name}: {}", line.text);
    for (name, value) in &line.fields {
        let _ = write!(text, " {name}={value}");
    }
    match line.level {
        _ if matches!(line.stream, LogStream::Stdout | LogStream::Stderr) => tracing::info!("{text}"),
        LogLevel::Debug => tracing::debug!("{text}"),
        LogLevel::Info => tracing::info!("{text}"),
        LogLevel::Warn => tracing::warn!("{text}"),
        LogLevel::Error => tracing::error!("{text}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::parse_pinned;

    #[test]
    fn an_answer_is_that_of_a_component_with_its_merged_params() {
        let answerers = |shared: &str, own: &str, component: &[u8]| {
            let manifest = format!(
                "manifest_version = 1\n[pipeline]\nname = \"p\"\nparams = {shared}\n\
                 [resources.raw]\nkind = \"folder\"\npath = \"raw\"\nwatch = true\n\
                 trigger = {{ component = {{ file = \"a.wasm\", params = {own} }} }}\n\
                 [actions.act]\ncomponent = \"b.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\n"
            );
            let pipeline = parse_pinned(&manifest, Path::new("/p"), Path::new("/p/anacostia.toml"), &|_| None).unwrap();
            let name = pipeline.deciders().next().unwrap().name.clone();
            answerers(&pipeline, &BTreeMap::from([(name, Digest::of(component))]))
        };
        let before = answerers("{ least = 1 }", "{ way = \"count\" }", b"1");
        assert_eq!(answerers("{ least = 1 }", "{ way = \"count\" }", b"1"), before);
        assert_ne!(answerers("{ least = 2 }", "{ way = \"count\" }", b"1"), before);
        let replaced = |shared| answerers(shared, "{ least = 9 }", b"1");
        assert_eq!(replaced("{ least = 1 }"), replaced("{ least = 2 }"), "it is given its own");
        assert_ne!(answerers("{ least = 1 }", "{ way = \"count\" }", b"2"), before);
    }
}
