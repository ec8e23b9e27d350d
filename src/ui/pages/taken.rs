//! What a run takes that a person starts, for the forms that ask before they start it.

use crate::manifest::{Pipeline, ResourceSpec};
use crate::model::Pending;
use crate::ui::text;

/// Most resources that are named with their bounds.
const NAMED: usize = 6;

/// Returns what a run on the new artifacts of one resource takes: the oldest, as many as its
/// trigger lets one run have. `None` if nothing is new.
pub(super) fn now(resource: &ResourceSpec, pending: Pending) -> Option<String> {
    if pending.count == 0 {
        return None;
    }
    match resource.trigger.max_artifacts.filter(|most| *most < pending.count) {
        Some(most) => Some(format!("the oldest {most} of {} artifacts", pending.count)),
        None => Some(super::triggers::sum(pending)),
    }
}

/// Returns what a run on all new artifacts takes at most. It has no numbers of what waits, because
/// the form that says it stays open while more arrives. `None` if no resource is watched.
pub(super) fn all(pipeline: &Pipeline) -> Option<String> {
    let watched: Vec<&ResourceSpec> = pipeline.resources.iter().filter(|it| it.watch).collect();
    let bounds: Vec<(&str, u64)> =
        watched.iter().filter_map(|it| Some((it.name.as_str(), it.trigger.max_artifacts?))).collect();
    let mut text = match (watched.len(), &bounds[..]) {
        (0, _) => return None,
        (_, []) => "It takes what is new".to_owned(),
        (1, [(name, most)]) => {
            format!("It takes what is new in `{name}`: at most {}", text::count(*most, "artifact", "artifacts"))
        }
        (all, [(_, most), rest @ ..]) if all == bounds.len() && rest.iter().all(|(_, other)| other == most) => {
            format!("It takes what is new: at most {} of each resource", text::count(*most, "artifact", "artifacts"))
        }
        _ => {
            let named = bounds.iter().take(NAMED).map(|(name, most)| format!("{most} of `{name}`"));
            let rest = if bounds.len() > NAMED { ", and as many of the others as their triggers allow" } else { "" };
            format!("It takes what is new: at most {}{rest}", named.collect::<Vec<_>>().join(", "))
        }
    };
    if !bounds.is_empty() {
        text.push_str(", the oldest first");
    }
    text.push_str(". Nothing is taken from a resource that is paused.");
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::{all, now};
    use crate::manifest::{Pipeline, parse_pinned};
    use crate::model::Pending;

    fn pipeline(resources: &[(&str, u64)]) -> Pipeline {
        let mut text = "manifest_version = 1\n[pipeline]\nname = \"p\"\n".to_owned();
        for (name, most) in resources {
            let _ = writeln!(text, "[resources.{name}]\nkind = \"folder\"\npath = \"{name}\"\nwatch = true");
            let _ = writeln!(text, "trigger = {{ max_artifacts = {most} }}");
        }
        let names: Vec<String> = resources.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        text += "[resources.out]\nkind = \"folder\"\npath = \"out\"\n[actions.train]\ncomponent = \"a.wasm\"\n";
        let _ = writeln!(text, "reads = [{0}]\nafter = [{0}]", names.join(", "));
        let folder = Path::new("/nowhere");
        parse_pinned(&text, folder, &folder.join("anacostia.toml"), &|_| None).unwrap()
    }

    #[test]
    fn a_run_on_one_resource_takes_no_more_than_its_trigger_allows() {
        let of = |most, count| {
            let pipeline = pipeline(&[("raw", most)]);
            now(&pipeline.resources[0], Pending { count, bytes: 20, ..Pending::default() })
        };
        assert_eq!(of(1, 0), None);
        assert_eq!(of(1, 1).as_deref(), Some("1 artifact, 20 B"));
        assert_eq!(of(1, 3).as_deref(), Some("the oldest 1 of 3 artifacts"));
        assert_eq!(of(3, 3).as_deref(), Some("3 artifacts, 20 B"));
    }

    #[test]
    fn a_run_on_all_that_is_new_has_a_bound_for_each_resource() {
        let of = |resources: &[(&str, u64)]| all(&pipeline(resources));
        let end = ", the oldest first. Nothing is taken from a resource that is paused.";
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("raw", 1)]), Some(format!("It takes what is new in `raw`: at most 1 artifact{end}")));
        let same = "It takes what is new: at most 5 artifacts of each resource";
        assert_eq!(of(&[("a", 5), ("b", 5)]), Some(format!("{same}{end}")));
        let two = "It takes what is new: at most 1 of `a`, 5 of `b`";
        assert_eq!(of(&[("a", 1), ("b", 5)]), Some(format!("{two}{end}")));
        let many = [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5), ("f", 6), ("g", 7)];
        let rest = "6 of `f`, and as many of the others as their triggers allow";
        assert!(of(&many).unwrap().contains(rest), "{:?}", of(&many));
    }
}
