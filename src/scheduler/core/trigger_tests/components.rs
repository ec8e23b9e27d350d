//! Triggers over time whose conditions a component decides.

use super::*;

fn skip() -> Said {
    Said::Skip { reason: "no".to_owned(), ask_again: None }
}

fn fire() -> Said {
    Said::Fire("yes".to_owned())
}

#[test]
fn a_component_is_asked_when_the_other_conditions_of_its_table_are_met() {
    let mut world = World::new("{ min_artifacts = 2, component = \"a.wasm\" }", "");
    assert_eq!(world.asks(0), []);
    world.arrive(1, 0);
    assert_eq!(world.asks(0), []);
    assert_eq!(
        world.sees(0),
        ["min_artifacts 2: 1 new artifact (not met)", "component a.wasm: not asked yet (not met)"]
    );
    world.arrive(2, 1);
    world.answer(skip(), 1);
    assert!(world.at(1).is_none() && world.asks(1_000).is_empty(), "nothing has changed");
    world.arrive(3, 2);
    world.answer(fire(), 2);
    assert_eq!(world.at(2).unwrap(), "raw: 3 new artifacts, component a.wasm: yes");
    world.arrive(2, 3);
    assert_eq!(world.asks(3).len(), 1, "a fire is for one run");
}

#[test]
fn a_component_that_cannot_decide_alone_is_not_asked() {
    let any = "{ any = [{ min_artifacts = 9 }, { component = \"a.wasm\" }, { component = \"b.wasm\" }] }";
    let mut world = World::new(any, "");
    world.arrive(9, 0);
    assert!(world.at(0).is_some(), "enough without it");
    let mut world = World::new(any, "");
    world.arrive(1, 0);
    world.answer(skip(), 0);
    assert_eq!(world.asks(0)[0].asked.1, "component b.wasm", "one after the other");
    world.answer(fire(), 0);
    assert!(world.at(0).unwrap().ends_with("component b.wasm: yes)") || world.asks(0).is_empty());

    let mut world = World::new("{ component = \"a.wasm\", max_wait = \"10s\" }", "");
    world.arrive(1, 0);
    world.answer(skip(), 1);
    assert!(world.at(9).is_none() && world.at(10).is_some(), "`max_wait` ends every wait");
}

#[test]
fn a_time_of_a_schedule_waits_for_the_answer_and_passes_with_a_no() {
    let mut world = World::new("{}", "[triggers.t]\nall = [{ cron = \"0 * * * *\" }, { component = \"a.wasm\" }]");
    assert_eq!(world.asks(3_599), []);
    assert!(world.at(3_600).is_none());
    world.answer(Said::Failed("trap".to_owned()), 3_601);
    assert!(world.at(3_601).is_none() && world.until(3_601) == Some(3_602), "asked again after a pause");
    world.answer(fire(), 3_602);
    assert!(world.at(3_602).is_some());
    assert!(world.at(7_200).is_none());
    world.answer(skip(), 7_200);
    assert!(world.at(7_201).is_none() && world.asks(7_300).is_empty(), "the time has passed");
    assert_eq!(world.asks(10_800).len(), 1, "each time is a reason to ask");
}

#[test]
fn a_component_of_the_pipeline_that_has_fired_waits_for_something_new() {
    let mut world = World::new("{ min_artifacts = 9 }", "[triggers.t]\ncomponent = \"a.wasm\"");
    world.answer(fire(), 0);
    assert_eq!(world.at(0).unwrap(), "t: component a.wasm: yes");
    assert_eq!(world.sees(1), ["component a.wasm: nothing new since it fired (not met)"]);
    world.restart(1);
    assert_eq!(world.asks(1), [], "also after a restart");
    world.arrive(1, 2);
    world.answer(skip(), 2);
    world.restart(3);
    assert_eq!(world.asks(3).len(), 1, "a restarted host knows no answers");
}

#[test]
fn a_component_is_not_asked_while_nothing_may_start() {
    let mut world = World::new("{ component = \"a.wasm\" }", "");
    world.arrive(1, 0);
    let unseen = BTreeMap::new();
    let paused = Situation { paused: true, ..world.situation(&unseen, 0) };
    let Plan::Wait { asks, ticks, .. } = plan(&world.pipeline, paused) else { panic!("it fires") };
    assert_eq!((asks, ticks.len()), (Vec::new(), 1));
    let Plan::Wait { asks, ticks, .. } = plan(&world.pipeline, world.situation(&unseen, 0)) else { panic!("it fires") };
    assert_eq!((asks.len(), ticks.len()), (1, 0), "what it says is news, not that it is asked");
    world.answer(fire(), 0);
    // The answer holds while the run waits, even if more arrives, but not if what it was based on
    // is gone.
    let before = world.waiting.clone();
    world.events += 1;
    let pending =
        Pending { count: 5, oldest_at: Some(now(0).time), newest_at: Some(now(9).time), as_of: world.events, bytes: 5 };
    world.waiting.note("raw", pending, now(9));
    assert!(matches!(plan(&world.pipeline, world.situation(&unseen, 9)), Plan::Fire(_)));
    world.waiting = before;
    world.arrive(1, 20);
    assert_eq!(world.asks(20).len(), 1);
}

#[test]
fn what_is_new_in_a_paused_resource_is_no_reason_to_ask_the_component_of_a_pipeline() {
    let mut world = World::new("{ min_artifacts = 9 }", "[triggers.t]\ncomponent = \"a.wasm\"");
    with_labels(&mut world, "any");
    for resource in &mut world.pipeline.resources {
        resource.trigger.min_artifacts = 9;
    }
    pause(&mut world, "raw");
    world.arrive(1, 1);
    world.answer(fire(), 2);
    let fire_of_t = world.fire(2).unwrap();
    assert_eq!(fire_of_t.claims.iter().map(|claim| claim.resource.as_str()).collect::<Vec<_>>(), ["labels"]);
    world.arrive(2, 3);
    assert_eq!(world.asks(1_000), [], "a run would not claim it");
    assert_eq!(world.sees(1_000), ["component a.wasm: nothing new since it fired (not met)"]);
    labels_arrive(&mut world, 1_001);
    world.answer(fire(), 1_001);
    pause(&mut world, "labels");
    assert!(world.at(1_001).is_none(), "it is not there for a run any more");
    world.paused_resources.clear();
    assert!(world.at(1_002).is_some());
    assert_eq!(world.asks(1_003).len(), 1, "what arrived during the pause is new");
}

#[test]
fn a_component_that_always_says_yes_is_not_asked_again_at_once() {
    let mut world = World::new("{ component = \"a.wasm\" }", "");
    world.arrive(1, 0);
    world.answer(fire(), 0);
    // Nothing was claimed.
    assert!(world.at(0).is_some() && world.asks(0).is_empty());
    let Plan::Wait { until, .. } = plan(&world.pipeline, world.situation(&BTreeMap::new(), 0)) else { panic!() };
    assert_eq!(until, Some(Moment::from_micros(100_000)));
    assert_eq!(world.asks(1).len(), 1);
}

#[test]
fn ends_of_runs_that_do_not_count_are_looked_at_once() {
    let mut world = World::new("{ component = \"a.wasm\" }", "");
    let after = |world: &World| world.history.after_runs(&world.pipeline, false)[0].after;
    let look = |world: &mut World, until| {
        let condition = world.history.after_runs(&world.pipeline, false).remove(0);
        world.history.note_looked(&condition, until);
    };
    look(&mut world, 50);
    assert_eq!(after(&world), 50);
    world.pipeline.resources[0].trigger.retrigger = true;
    assert_eq!(after(&world), 0, "after a reload, other runs count");
    world.pipeline.resources[0].trigger.retrigger = false;
    world.restart(1);
    assert_eq!(after(&world), 0);
    look(&mut world, 50);
    world.arrive(1, 2);
    world.answer(fire(), 2);
    assert!(world.at(2).is_some());
    world.restart(3);
    assert_eq!(after(&world), 50, "a fire accounts for them");
}
