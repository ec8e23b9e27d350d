//! `[triggers.NAME]`, and the conditions of a resource's `trigger`.

use std::ops::Range;
use std::time::Duration;

use super::super::condition::{Condition, MetricTest, Missed, TriggerSpec};
use super::super::group_by::GroupBy;
use super::super::keys::{self, Keys};
use super::super::problem::{Problem, quoted};
use super::super::settings;
use super::super::tree::{At, Reader, Table};
use super::{UncheckedDecider, UncheckedTrigger, decider};
use crate::base::{Schedule, ScheduleError, bounds};

/// Reads `[triggers.NAME]`.
pub(super) fn read(reader: &mut Reader<'_>, name: At<String>, table: &Table<'_>) -> UncheckedTrigger {
    let table = &reader.section(table, &keys::PIPELINE_TRIGGER);
    let mut deciders = Vec::new();
    let mut when = conditions(reader, table, &keys::PIPELINE_CONDITION, &mut deciders);
    decider::name(&name.value, &mut when, &mut deciders);
    let retrigger = retrigger(reader, table, &when);
    if table.in_order().iter().all(|(key, _)| key.value == "retrigger") {
        reader.complain(
            Problem::new(format!("{} has no condition, so it would never fire", table.name))
                .at(&table.at, "here")
                .help("add one, such as `every = \"1h\"`"),
        );
    }
    let spec = TriggerSpec { name: name.value.clone(), when, retrigger };
    UncheckedTrigger { name, spec, deciders }
}

/// Reads `group_by` of a resource's trigger.
pub(super) fn group_by(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<GroupBy> {
    let text = reader.string(table, "group_by", "\"{day}/*.csv\"")?;
    GroupBy::parse(&text.value)
        .map_err(|why| {
            let problem = Problem::new(format!("{} puts no path into a group: {why}", quoted(&text.value)));
            reader.complain(
                problem.at(&text.span, "here").help("write a pattern of paths with named parts: \"{day}/*.csv\""),
            );
        })
        .ok()
}

/// Reads `retrigger` of a trigger with these conditions.
pub(super) fn retrigger(reader: &mut Reader<'_>, table: &Table<'_>, when: &[Condition]) -> bool {
    let Some(retrigger) = reader.boolean(table, "retrigger") else { return false };
    let sees_runs = |condition: &&Condition| {
        matches!(condition, Condition::AfterRun(_) | Condition::Metric { .. } | Condition::Component(_))
    };
    if retrigger.value && !when.iter().flat_map(Condition::flat).any(|condition| sees_runs(&condition)) {
        reader.complain(
            Problem::new("`retrigger` is about runs that the trigger led to, and no condition looks at runs")
                .at(&retrigger.span, "has no effect")
                .help("remove it, or add `after_run`, `metric` or `component`"),
        );
    }
    retrigger.value
}

/// Reads the conditions of a table that count no artifacts. `inner` has the keys of the tables in
/// `all` and `any`; `deciders` receives what is checked later of components.
pub(super) fn conditions(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    inner: &'static Keys,
    deciders: &mut Vec<UncheckedDecider>,
) -> Vec<Condition> {
    let mut all = Vec::new();
    all.extend(reader.duration(table, "every").map(|every| Condition::Every(every.value)));
    all.extend(cron(reader, table));
    all.extend(metric(reader, table));
    all.extend(reader.choice(table, "after_run", &settings::AFTER_RUN, &[]).map(|how| Condition::AfterRun(how.value)));
    all.extend(decider::read(reader, table, deciders));
    for (key, group) in [("all", Condition::All as fn(_) -> _), ("any", Condition::Any)] {
        let tables = reader.tables(table, key, "[{ every = \"1h\" }, { after_run = \"failed\" }]");
        let items: Vec<Condition> = tables.iter().filter_map(|item| one(reader, item, inner, deciders)).collect();
        if !items.is_empty() {
            all.push(group(items));
        }
    }
    all
}

/// Reads a table in `all` or `any`: its conditions must all be met, or its `max_wait` be over.
fn one(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    keys: &'static Keys,
    deciders: &mut Vec<UncheckedDecider>,
) -> Option<Condition> {
    let table = &reader.section(table, keys);
    if table.in_order().is_empty() {
        reader.complain(Problem::new(format!("{} has no condition", table.name)).at(&table.at, "is empty"));
    }
    let mut all = Vec::new();
    let mut wait = None;
    if keys.knows("min_artifacts") {
        let min = reader.integer(table, "min_artifacts");
        all.extend(min.map(|min| Condition::MinArtifacts(min.value)));
        let bytes = reader.size(table, "min_bytes");
        all.extend(bytes.map(|bytes| Condition::MinBytes(bytes.value)));
        let (quiet, max) = waits(reader, table);
        all.extend(quiet.map(Condition::QuietFor));
        wait = max;
    }
    all.extend(conditions(reader, table, keys, deciders));
    let met = if all.len() > 1 { Some(Condition::All(all)) } else { all.pop() };
    match (met, wait.map(Condition::MaxWait)) {
        (Some(met), Some(wait)) => Some(Condition::Any(vec![met, wait])),
        (met, wait) => met.or(wait),
    }
}

/// Reads `quiet_for` and `max_wait`, which ends that wait too.
pub(super) fn waits(reader: &mut Reader<'_>, table: &Table<'_>) -> (Option<Duration>, Option<Duration>) {
    let quiet = reader.duration(table, "quiet_for");
    let wait = reader.duration(table, "max_wait");
    if let (Some(quiet), Some(wait)) = (&quiet, &wait)
        && wait.value < quiet.value
    {
        reader.complain(
            Problem::new("`max_wait` is shorter than `quiet_for`, so `quiet_for` would have no effect")
                .at(&wait.span, "ends before")
                .at(&quiet.span, "this"),
        );
    }
    (quiet.map(|quiet| quiet.value), wait.map(|wait| wait.value))
}

/// Reads `cron`: a schedule, or a table with it.
fn cron(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Condition> {
    const EXAMPLE: &str = "`cron = { schedule = \"0 6 * * 1-5\", time_zone = \"Europe/Berlin\" }`";
    let mut missed = Missed::default();
    let mut zone = None;
    let schedule = if table.get("cron").is_some_and(|value| value.get_ref().is_table()) {
        let name = format!("`cron` of {}", table.name);
        let cron = reader.table(table, "cron", name, &keys::CRON, EXAMPLE)?;
        zone = reader.string(&cron, "time_zone", "\"Europe/Berlin\"");
        if let Some(choice) = reader.choice(&cron, "missed", &settings::MISSED, &[]) {
            missed = choice.value;
        }
        reader.required_string(&cron, "schedule", "\"0 6 * * 1-5\"")?
    } else {
        reader.string(table, "cron", "\"0 6 * * 1-5\"")?
    };
    match Schedule::parse(&schedule.value, zone.as_ref().map_or("UTC", |zone| &zone.value)) {
        Ok(schedule) => Some(Condition::Cron { schedule: Box::new(schedule), missed }),
        Err(error) => {
            reader.complain(refused(&error, &schedule, zone.as_ref()));
            None
        }
    }
}

fn refused(error: &ScheduleError, schedule: &At<String>, zone: Option<&At<String>>) -> Problem {
    let problem = Problem::new(error.to_string());
    match error {
        ScheduleError::NoZone(_) => problem
            .at(zone.map_or(&schedule.span, |zone| &zone.span), "not known")
            .help("write a name of the IANA time zone database, such as \"Europe/Berlin\" or \"UTC\""),
        ScheduleError::NoSchedule(..) | ScheduleError::Never(_) => problem.at(&schedule.span, "here").help(
            "write minute, hour, day of month, month and day of week: \"0 6 * * 1-5\" is 6:00 from Monday to Friday",
        ),
    }
}

/// Reads `metric`: its name, and exactly one test.
fn metric(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Condition> {
    let name = format!("`metric` of {}", table.name);
    let example = "`metric = { name = \"accuracy\", below = 0.9 }`";
    let metric = reader.table(table, "metric", name, &keys::METRIC, example)?;
    let name = reader.required_string(&metric, "name", "\"accuracy\"");
    let below = reader.number(&metric, "below", "0.9").map(|it| (MetricTest::Below(it.value), it.span));
    let above = reader.number(&metric, "above", "0.9").map(|it| (MetricTest::Above(it.value), it.span));
    let changed = reader.number(&metric, "changed_by", "0.05").and_then(|it| changed_by(reader, &it));
    let quiet = reader.duration(&metric, "no_update_for");
    let quiet = quiet.map(|it| (MetricTest::NoUpdateFor(it.value), it.span));
    let tests: Vec<(MetricTest, Range<usize>)> = [below, above, changed, quiet].into_iter().flatten().collect();
    if let [(_, first), (_, second), ..] = &tests[..] {
        reader.complain(
            Problem::new("a `metric` has one test")
                .at(second, "another test")
                .at(first, "one test")
                .help("combine several with `all` or `any`"),
        );
    }
    let keys = ["below", "above", "changed_by", "no_update_for"];
    if keys.iter().all(|key| metric.get(key).is_none()) && !keys.iter().any(|key| reader.is_meant(&metric, key)) {
        reader.complain(
            Problem::new(format!("{} does not say what its value must be", metric.name))
                .at(&metric.at, "here")
                .help("add `below = 0.9`, `above`, `changed_by` or `no_update_for`"),
        );
    }
    let name = name?;
    if name.value.is_empty() || name.value.len() > bounds::MAX_FACT_NAME_BYTES {
        let most = bounds::MAX_FACT_NAME_BYTES;
        reader.complain(
            Problem::new(format!("{} cannot name a metric", quoted(&name.value)))
                .at(&name.span, "this name")
                .help(format!("a name has 1 to {most} bytes")),
        );
    }
    let (test, _) = tests.into_iter().next()?;
    Some(Condition::Metric { name: name.value, test })
}

fn changed_by(reader: &mut Reader<'_>, step: &At<f64>) -> Option<(MetricTest, Range<usize>)> {
    if step.value > 0.0 {
        return Some((MetricTest::ChangedBy(step.value), step.span.clone()));
    }
    reader.complain(Problem::new("`changed_by` must be more than 0").at(&step.span, "here"));
    None
}
