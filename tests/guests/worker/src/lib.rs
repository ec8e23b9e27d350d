//! A guest that executes the param `steps`, one step after another. `tests/guests/README.md` lists
//! the steps. With the feature `hooked` (the guest `hooked`) it also has hooks, which execute the
//! param `hooks`.

mod data;
mod database;
mod facts;
mod flow;
#[cfg(feature = "hooked")]
mod hooks;
mod text;

use anacostia_guest::{Error, Outcome, Result, run_context};
use serde::Deserialize;

#[cfg(not(feature = "hooked"))]
anacostia_guest::action!(run);
#[cfg(feature = "hooked")]
anacostia_guest::action!(run, hooks: hooks::Steps);

/// The params of this action. Params that are meant for other actions are ignored.
#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    steps: Vec<Step>,
    #[cfg(feature = "hooked")]
    #[serde(default)]
    hooks: HookSteps,
}

/// The steps of each hook.
#[cfg(feature = "hooked")]
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HookSteps {
    before_run: Vec<Step>,
    on_success: Vec<Step>,
    on_failure: Vec<Step>,
    after_run: Vec<Step>,
}

/// One step. Each is described at its implementation.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Step {
    Copy(data::Copy),
    Summarise(data::Summarise),
    Write(data::Write),
    Read(data::Read),
    ReadForever(data::ReadForever),
    ReadRange(data::ReadRange),
    List(data::List),
    Query(database::Query),
    Execute(database::Execute),
    Metrics(facts::Metrics),
    Params(facts::Params),
    Tags(facts::Tags),
    TagInputs(facts::TagInputs),
    Latest(facts::Latest),
    Runs(facts::Runs),
    SkipUnlessBetter(facts::SkipUnlessBetter),
    Log(flow::Log),
    Progress(flow::Progress),
    Fail(flow::Fail),
    Panic(flow::Panic),
    Skip(flow::Skip),
    Done(flow::Done),
    Clock(flow::Clock),
    Random(flow::Random),
    Told(flow::Told),
    Spin(flow::Spin),
    Sleep(flow::Sleep),
    Allocate(flow::Allocate),
    AwaitCancel(flow::AwaitCancel),
    Expect(flow::Expect),
}

/// What happens after a step: the next step, or the end of the action.
type Then = Option<Outcome>;

fn params() -> Result<Params> {
    let params = run_context::params();
    serde_json::from_str(&params).map_err(|error| Error::permanent(format!("bad params {params}: {error}")))
}

fn run() -> Result<Outcome> {
    let params = params()?;
    for step in &params.steps {
        if let Some(outcome) = perform(step)? {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Done(Some(format!("{} steps", params.steps.len()))))
}

fn perform(step: &Step) -> Result<Then> {
    match step {
        Step::Copy(step) => step.perform()?,
        Step::Summarise(step) => step.perform()?,
        Step::Write(step) => step.perform()?,
        Step::Read(step) => step.perform()?,
        Step::ReadForever(step) => step.perform()?,
        Step::ReadRange(step) => step.perform()?,
        Step::List(step) => step.perform()?,
        Step::Query(step) => step.perform()?,
        Step::Execute(step) => step.perform()?,
        Step::Metrics(step) => step.perform()?,
        Step::Params(step) => step.perform()?,
        Step::Tags(step) => step.perform()?,
        Step::TagInputs(step) => step.perform()?,
        Step::Latest(step) => step.perform()?,
        Step::Runs(step) => step.perform()?,
        Step::SkipUnlessBetter(step) => return step.perform(),
        Step::Log(step) => step.perform(),
        Step::Progress(step) => step.perform(),
        Step::Fail(step) => step.perform()?,
        Step::Panic(step) => step.perform(),
        Step::Skip(step) => return Ok(Some(step.perform())),
        Step::Done(step) => return Ok(Some(step.perform())),
        Step::Clock(step) => step.perform(),
        Step::Random(step) => step.perform(),
        Step::Told(step) => step.perform()?,
        Step::Spin(step) => step.perform(),
        Step::Sleep(step) => step.perform(),
        Step::Allocate(step) => step.perform(),
        Step::AwaitCancel(step) => return step.perform().map(Some),
        Step::Expect(step) => step.perform()?,
    }
    Ok(None)
}
