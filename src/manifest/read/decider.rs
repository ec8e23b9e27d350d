//! `component` of a trigger: a file, or a table with it.

use std::path::PathBuf;

use super::super::action::Limits;
use super::super::condition::Condition;
use super::super::decider::Decider;
use super::super::keys;
use super::super::tree::{Reader, Table};
use super::component::{build, component_file, digest};
use super::{UncheckedDecider, inner, params};

/// Reads `component` of a trigger, or of a table in its `all` or `any`. Adds to `found` what is
/// checked later.
pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>, found: &mut Vec<UncheckedDecider>) -> Option<Condition> {
    const EXAMPLE: &str = "{ file = \"decide.wasm\", params = { limit = 3 } }";
    let (mut pinned, mut made, mut sources, mut own) = (None, None, Vec::new(), serde_json::Map::new());
    let mut limits = Decider::usual_limits();
    let text = if table.get("component").is_some_and(|value| value.get_ref().is_table()) {
        let table = inner(reader, table, "component", &keys::COMPONENT, EXAMPLE)?;
        pinned = digest(reader, &table);
        (made, sources) = build(reader, &table);
        own = params::read(reader, &table, "params", "{ limit = 3 }");
        limits = read_limits(reader, &table);
        reader.required_string(&table, "file", "\"decide.wasm\"")
    } else {
        reader.string(table, "component", "\"decide.wasm\"")
    };
    let text = component_file(reader, text, "component")?;
    let decider = Decider {
        name: String::new(),
        written: text.value.clone(),
        file: PathBuf::new(),
        digest: pinned.as_ref().map(|digest| digest.value),
        build: made,
        params: own,
        limits,
    };
    found.push(UncheckedDecider {
        trigger: String::new(),
        text,
        file: PathBuf::new(),
        digest: pinned,
        is_built: decider.build.is_some(),
        sources,
        params_bytes: serde_json::to_vec(&decider.params).map_or(0, |json| json.len()),
    });
    Some(Condition::Component(Box::new(decider)))
}

/// Names the components of a trigger.
pub(super) fn name(trigger: &str, when: &mut [Condition], found: &mut [UncheckedDecider]) {
    let mut number = 0_usize;
    for condition in when {
        condition.each_decider(&mut |decider| {
            number += 1;
            decider.name =
                if number == 1 { format!("trigger {trigger}") } else { format!("trigger {trigger} {number}") };
        });
    }
    for decider in found {
        trigger.clone_into(&mut decider.trigger);
    }
}

fn read_limits(reader: &mut Reader<'_>, table: &Table<'_>) -> Limits {
    let usual = Decider::usual_limits();
    let example = "{ memory = \"64MiB\", cpu = \"1s\" }";
    let Some(table) = inner(reader, table, "limits", &keys::COMPONENT_LIMITS, example) else { return usual };
    Limits {
        memory_bytes: reader.size_or_default(&table, "memory"),
        cpu: reader.duration_or_default(&table, "cpu"),
        wall: reader.duration_or_default(&table, "wall"),
        log_bytes: reader.size_or_default(&table, "log"),
        ..usual
    }
}
