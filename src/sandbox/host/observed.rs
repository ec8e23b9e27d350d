//! Notes what the result of an attempt depends on, so that the cache can tell later whether another
//! attempt would have the same result.
//!
//! A guest is deterministic but for what the host answers. So its result depends on what it has
//! asked, and on nothing else. What it asks is noted with a digest of the answer; the digests of
//! contents are those that the readers check. Answers that no later run can be asked for again make
//! the attempt *irregular*: it is not remembered.

use std::collections::BTreeMap;

use crate::base::ArtifactId;
use crate::model::{Dependency, Entry, Influence};
use crate::sandbox::order::Trace;

/// The maximum number of dependencies that are remembered of one attempt.
const MAX_DEPENDENCIES: usize = 10_000;

/// What a dependency is about.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Opened(ArtifactId),
    Absent(String, String),
    Inputs(String),
    List(String, Option<String>, Option<String>, u32),
    Metrics(String, u32),
}

/// What the result of one attempt depends on.
#[derive(Debug, Default)]
pub(super) struct Observed {
    dependencies: BTreeMap<Question, Dependency>,
    used: Vec<Influence>,
    run_tags: BTreeMap<String, String>,
    irregular: Option<String>,
}

impl Observed {
    /// Notes a question, with its answer.
    pub(super) fn note(&mut self, dependency: Dependency) {
        let question = question(&dependency);
        match self.dependencies.get(&question) {
            Some(before) if *before != dependency => {
                self.note_irregular("it has asked for the same twice, and got two answers".to_owned());
            }
            None if self.dependencies.len() >= MAX_DEPENDENCIES => {
                self.note_irregular(format!("it has asked for more than {MAX_DEPENDENCIES} things"));
            }
            _ => {
                self.dependencies.insert(question, dependency);
            }
        }
    }

    /// Returns whether the inputs in a resource are noted already.
    pub(super) fn knows_inputs(&self, resource: &str) -> bool {
        self.dependencies.contains_key(&Question::Inputs(resource.to_owned()))
    }

    /// Notes the use of something that is not on record.
    pub(super) fn note_use(&mut self, influence: Influence) {
        if !self.used.contains(&influence) {
            self.used.push(influence);
        }
    }

    /// Notes tags of the run.
    pub(super) fn note_run_tags(&mut self, tags: &[Entry]) {
        self.run_tags.extend(tags.iter().map(|tag| (tag.name.clone(), tag.value.clone())));
    }

    /// Notes why the result cannot be told from what is on record. The first reason is kept.
    pub(super) fn note_irregular(&mut self, why: String) {
        self.irregular.get_or_insert(why);
    }

    /// Returns everything that was noted.
    pub(super) fn into_trace(self) -> Trace {
        Trace {
            dependencies: self.dependencies.into_values().collect(),
            used: Influence::ALL.iter().copied().filter(|it| self.used.contains(it)).collect(),
            run_tags: self.run_tags.into_iter().map(|(name, value)| Entry { name, value }).collect(),
            irregular: self.irregular,
        }
    }
}

fn question(dependency: &Dependency) -> Question {
    match dependency {
        Dependency::Opened { id, .. } => Question::Opened(*id),
        Dependency::Absent { resource, path } => Question::Absent(resource.clone(), path.clone()),
        Dependency::Inputs { resource, .. } => Question::Inputs(resource.clone()),
        Dependency::List { resource, prefix, after, limit, .. } => {
            Question::List(resource.clone(), prefix.clone(), after.clone(), *limit)
        }
        Dependency::Metrics { name, limit, .. } => Question::Metrics(name.clone(), *limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent(path: &str) -> Dependency {
        Dependency::Absent { resource: "raw".to_owned(), path: path.to_owned() }
    }

    fn metrics(values: &[u8]) -> Dependency {
        Dependency::Metrics { name: "loss".to_owned(), limit: 1, values: crate::base::Digest::of(values) }
    }

    #[test]
    fn each_question_is_noted_once_and_two_answers_are_irregular() {
        let mut seen = Observed::default();
        for dependency in [absent("a"), absent("b"), absent("a"), metrics(b"1"), metrics(b"1")] {
            seen.note(dependency);
        }
        seen.note_use(Influence::Random);
        seen.note_use(Influence::Clock);
        seen.note_use(Influence::Random);
        let trace = seen.into_trace();
        assert_eq!((trace.dependencies.len(), trace.irregular), (3, None));
        assert_eq!(trace.used, [Influence::Clock, Influence::Random]);
        let mut seen = Observed::default();
        seen.note(metrics(b"1"));
        seen.note(metrics(b"2"));
        seen.note_irregular("another reason".to_owned());
        assert_eq!(seen.into_trace().irregular.unwrap(), "it has asked for the same twice, and got two answers");
    }

    #[test]
    fn the_number_of_questions_is_bounded() {
        let mut seen = Observed::default();
        (0..MAX_DEPENDENCIES).for_each(|number| seen.note(absent(&number.to_string())));
        seen.note(absent("7"));
        assert!(seen.irregular.is_none());
        seen.note(absent("one more"));
        let trace = seen.into_trace();
        assert_eq!(trace.irregular.unwrap(), "it has asked for more than 10000 things");
        assert_eq!(trace.dependencies.len(), MAX_DEPENDENCIES);
    }
}
