//! Formats what triggers would do now.

use super::{Cell, Column, Table, duration, plural, styles};
use crate::base::Timestamp;
use crate::model::{ConditionSeen, TickOutcome};
use crate::scheduler::Preview;

/// Formats the triggers, with a line for each condition, for a terminal with `width` columns.
pub(crate) fn trigger_list(triggers: &[Preview], now: Timestamp, width: usize) -> String {
    let mut table = Table::new(&[
        ("TRIGGER", Column::Prose),
        ("NOW", Column::Word),
        ("NEXT", Column::Word),
        ("CONDITION", Column::Prose),
        ("SEES", Column::Prose),
    ]);
    for trigger in triggers {
        let (outcome, style) = match trigger.outcome {
            TickOutcome::Fired => ("starts a run", styles::GOOD),
            TickOutcome::Held => ("held", styles::STRONG),
            TickOutcome::NotReady => ("waits", styles::FAINT),
            TickOutcome::Error => ("fails", styles::BAD),
        };
        let next = trigger.next_at.map(|at| format!("in {}", duration(at.since(now)))).unwrap_or_default();
        let mut head =
            vec![Cell::new(&trigger.trigger).style(styles::STRONG), Cell::new(outcome).style(style), Cell::new(next)];
        let held = trigger.held.iter().map(|why| vec![Cell::new("held"), Cell::new(why)]);
        let others = Some(trigger.without_group).filter(|count| *count > 0);
        let others = others.map(|count| vec![Cell::new("in no group"), Cell::new(plural(count, "new artifact"))]);
        let group = trigger.group_line().map(|group| vec![Cell::new("of the group"), Cell::new(group)]);
        let beyond = trigger.beyond_line().map(|line| vec![Cell::new("beyond the bound"), Cell::new(line)]);
        let conditions = conditions(&trigger.conditions, 0);
        for line in group.into_iter().chain(conditions).chain(others).chain(beyond).chain(held) {
            head.extend(line);
            table.row(std::mem::replace(&mut head, vec![Cell::new(""), Cell::new(""), Cell::new("")]));
        }
    }
    table.render(width)
}

/// A line for each condition; those of a group are below it.
fn conditions(seen: &[ConditionSeen], depth: usize) -> Vec<Vec<Cell>> {
    let mut lines = Vec::new();
    for condition in seen {
        let (mark, style) = if condition.met { ("✓", styles::GOOD) } else { ("·", styles::PLAIN) };
        let wanted = format!("{}{mark} {} {}", "  ".repeat(depth), condition.condition, condition.wanted);
        lines.push(vec![Cell::new(wanted).style(style), Cell::new(&condition.seen)]);
        lines.extend(conditions(&condition.conditions, depth + 1));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::trigger_list;
    use crate::base::Timestamp;
    use crate::model::{ConditionSeen, TickOutcome};
    use crate::scheduler::{GroupSeen, Preview};

    fn condition(condition: &str, wanted: &str, seen: &str, met: bool) -> ConditionSeen {
        let [condition, wanted, seen] = [condition, wanted, seen].map(str::to_owned);
        ConditionSeen { condition, wanted, seen, met, conditions: Vec::new() }
    }

    #[test]
    fn each_condition_of_a_trigger_has_a_line() {
        let now = Timestamp::from_micros(0);
        let either = ConditionSeen {
            conditions: vec![
                condition(
                    "cron",
                    "0 6 * * 1-5 Europe/Berlin",
                    "next at 1970-01-01 06:00 Europe/Berlin (05:00 UTC)",
                    false,
                ),
                condition("metric", "accuracy below 0.9", "0.85 in run #12", true),
            ],
            ..condition("any", "1 of 2", "1 of 2", true)
        };
        let triggers = [
            Preview {
                trigger: "raw".to_owned(),
                resource: Some("raw".to_owned()),
                outcome: TickOutcome::NotReady,
                reason: "2 of 3 artifacts".to_owned(),
                held: None,
                next_at: Some(Timestamp::from_micros(3_600_000_000)),
                conditions: vec![condition("min_artifacts", "3", "2", false)],
                group: None,
                groups: Vec::new(),
                more_groups: 0,
                beyond: 0,
                without_group: 4,
            },
            Preview {
                trigger: "poll".to_owned(),
                resource: Some("poll".to_owned()),
                outcome: TickOutcome::NotReady,
                reason: "poll cannot be reached: it is away".to_owned(),
                held: Some("poll cannot be reached: it is away".to_owned()),
                next_at: None,
                conditions: vec![condition("min_artifacts", "1", "0", false)],
                group: None,
                groups: Vec::new(),
                more_groups: 0,
                beyond: 0,
                without_group: 0,
            },
            Preview {
                trigger: "days".to_owned(),
                resource: Some("days".to_owned()),
                outcome: TickOutcome::NotReady,
                reason: "day=2: 1 of 2 artifacts".to_owned(),
                held: None,
                next_at: None,
                conditions: vec![condition("min_artifacts", "2", "1", false)],
                group: Some("day=2".to_owned()),
                groups: vec![GroupSeen { name: "day=2".to_owned(), count: 1, waits_for: None }],
                more_groups: 2,
                beyond: 12,
                without_group: 0,
            },
            Preview {
                trigger: "retrain".to_owned(),
                resource: None,
                outcome: TickOutcome::Held,
                reason: String::new(),
                held: Some("1 of 1 runs active".to_owned()),
                next_at: None,
                conditions: vec![either],
                group: None,
                groups: Vec::new(),
                more_groups: 0,
                beyond: 0,
                without_group: 0,
            },
        ];
        insta::assert_snapshot!(anstream::adapter::strip_str(&trigger_list(&triggers, now, 120)));
    }
}
