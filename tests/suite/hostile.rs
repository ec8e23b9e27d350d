//! Hostile guests, as tables: each row is an act, what stops or refuses it, and a harmless
//! counterpart.
//!
//! A row proves three things, in this order: **the denial** (the host refuses the call, or stops
//! the guest, with the documented error); **the allowed counterpart** (the same call with the
//! grant, or the same guest within its limits, which shows that the limit stopped the guest, and
//! not a fault in the guest); and **an unharmed host** (an honest guest runs on the same sandbox,
//! without traces of the hostile one).
//!
//! Two kinds of denial are tested elsewhere, together with the servers that they need: an HTTP host
//! that is not granted, and a redirect to a private address.

mod abi;
mod compiling;
mod components;
mod encode;
mod fairness;
mod floods;
mod folders;
mod forged;
mod grants;
mod published;
mod runaway;

use std::time::Instant;

use anacostia::manifest::Limits;
use anacostia::model::Outcome;
use anacostia::sandbox::AttemptOrder;
use serde_json::{Value, json};

use crate::sandbox::Bench;

/// The guest to run.
pub(crate) enum Act {
    /// The guest `hostile`, with these params.
    Mode(Value),
    /// The guest `hooked`, with these params.
    Hooked(Value),
    /// A separate component.
    Component(Vec<u8>),
}

/// How the act must end.
pub(crate) enum Expected {
    /// The host stops it: the code of the error, and words in its message.
    Stopped(&'static str, &'static str),
    /// Its calls are refused, and the guest checks this itself: it continues with what is allowed,
    /// and succeeds. Words in its results.
    Refused(&'static str),
    /// The component is not even loaded: words in the error.
    NotLoaded(&'static str),
}

/// One row of a table.
pub(crate) struct Case {
    name: String,
    act: Act,
    expected: Expected,
    /// The harmless counterpart; `None` if the act itself continues with what is allowed.
    counterpart: Option<Act>,
    /// The limits of both.
    limits: fn(&mut Limits),
}

impl Case {
    /// Calls that are refused, by a guest that then makes those that are allowed.
    fn refused(name: &str, params: Value, words: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            act: Act::Mode(params),
            expected: Expected::Refused(words),
            counterpart: None,
            limits: |_| (),
        }
    }

    /// A guest that is stopped, and one that does a limited amount of the same.
    fn stopped(name: &str, act: Act, code: &'static str, words: &'static str, counterpart: Act) -> Self {
        Self {
            name: name.to_owned(),
            act,
            expected: Expected::Stopped(code, words),
            counterpart: Some(counterpart),
            limits: |_| (),
        }
    }

    /// A component that is refused, and a similar one that is not.
    fn not_loaded(name: &str, component: Vec<u8>, words: &'static str, counterpart: Vec<u8>) -> Self {
        let (act, counterpart) = (Act::Component(component), Some(Act::Component(counterpart)));
        Self { name: name.to_owned(), act, expected: Expected::NotLoaded(words), counterpart, limits: |_| () }
    }

    /// The same, if the allowed counterpart needs a separate run.
    fn with_counterpart(self, counterpart: Act) -> Self {
        Self { counterpart: Some(counterpart), ..self }
    }

    /// The same with other limits.
    fn within(self, limits: fn(&mut Limits)) -> Self {
        Self { limits, ..self }
    }
}

/// Params of the guest `hostile` with `times`.
fn mode(mode: &str, times: impl Into<Option<u64>>) -> Act {
    let mut params = json!({ "mode": mode, "from": "raw", "to": "out" });
    if let Some(times) = times.into() {
        params["times"] = times.into();
    }
    Act::Mode(params)
}

/// Returns an order for an act whose component is loaded, or why loading failed.
async fn order(bench: &Bench, act: &Act, limits: fn(&mut Limits)) -> Result<AttemptOrder, String> {
    let mut order = match act {
        Act::Mode(params) => bench.order(bench.guest("hostile").await, params),
        Act::Hooked(params) => bench.order(bench.guest("hooked").await, params),
        Act::Component(bytes) => {
            let (digest, file) = crate::sandbox::guests::write(bench.folder.path(), "case.wasm", bytes);
            bench.sandbox.load(digest, &file).await.map_err(|why| why.to_string())?;
            bench.order(digest, &json!({}))
        }
    };
    order.env.insert("GRANTED".to_owned(), "yes".to_owned());
    limits(&mut order.limits);
    Ok(order)
}

/// Checks the rows of a table, one after the other, on one sandbox, and reports all failures at the
/// end.
async fn check_cases(bench: &Bench, cases: Vec<Case>) {
    let mut failed = Vec::new();
    for case in cases {
        let began = Instant::now();
        let Err(why) = check_case(bench, &case).await else {
            println!("{:>6} ms  {}", began.elapsed().as_millis(), case.name);
            continue;
        };
        failed.push(format!("{}: {why}", case.name));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

async fn check_case(bench: &Bench, case: &Case) -> Result<(), String> {
    check_outcome(bench, case).await?;
    if let Some(counterpart) = &case.counterpart {
        let order = order(bench, counterpart, case.limits)
            .await
            .map_err(|why| format!("the counterpart is not loaded: {why}"))?;
        let outcome = bench.run(order).await.outcome;
        ensure(matches!(outcome, Outcome::Done(_)), || format!("the counterpart: {outcome:?}"))?;
    }
    check_sandbox_works(bench).await
}

fn ensure(truth: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if truth { Ok(()) } else { Err(otherwise()) }
}

async fn check_outcome(bench: &Bench, case: &Case) -> Result<(), String> {
    let order = match (order(bench, &case.act, case.limits).await, &case.expected) {
        (Err(why), Expected::NotLoaded(words)) => return ensure(why.contains(words), || why),
        (Err(why), _) => return Err(format!("it is not loaded: {why}")),
        (Ok(order), _) => order,
    };
    let report = bench.run(order).await;
    let outcome = &report.outcome;
    match (&case.expected, outcome) {
        (Expected::Stopped(code, words), Outcome::Failed(error) | Outcome::TimedOut(error)) => {
            ensure(error.code == *code && error.message.contains(words), || format!("{error:?}"))?;
            let staged = report.staged.len() + bench.out.staged.lock().unwrap().len();
            ensure(staged == 0, || format!("{staged} files are staged"))
        }
        (Expected::Refused(words), Outcome::Done(Some(seen))) => {
            ensure(seen.contains(words), || format!("it has not seen `{words}`: {seen}"))?;
            let (denial, counterpart) = (entry(seen, &REFUSALS).next(), entry(seen, &["ok", "holds"]).next_back());
            ensure(denial.is_some() && (case.counterpart.is_some() || denial < counterpart), || {
                format!("the denial comes first, the counterpart last: {seen}")
            })
        }
        _ => Err(format!("nothing stopped it as it must: {outcome:?}")),
    }
}

const REFUSALS: [&str; 6] = ["denied", "invalid", "not-found", "already-exists", "limit", "changed"];

/// Returns those results of a guest that end with this text.
fn entry<'a>(seen: &'a str, ends: &'a [&str]) -> impl DoubleEndedIterator<Item = usize> + 'a {
    let is_one = |entry: &str| ends.iter().any(|end| entry.ends_with(&format!(": {end}")));
    let entries: Vec<&str> = seen.split("; ").collect();
    (0..entries.len()).filter(move |at| is_one(entries[*at]))
}

/// Checks that an honest guest can work on the same sandbox, undisturbed by the guest before it.
async fn check_sandbox_works(bench: &Bench) -> Result<(), String> {
    // Whether finished outputs of a guest are published or discarded is up to the scheduler.
    bench.out.staged.lock().unwrap().clear();
    let report = bench.worker(json!([{ "do": "copy", "from": "raw", "to": "out", "append": "honest" }])).await;
    let well = report.outcome == Outcome::Done(Some("1 steps".to_owned()))
        && (report.staged.len(), report.denials.len(), report.accesses.len()) == (1, 0, 2);
    bench.out.staged.lock().unwrap().clear();
    ensure(well, || format!("the honest one after it: {report:?}"))
}

/// All tables in this folder that need only a sandbox.
fn tables(bench: &Bench) -> Vec<Vec<Case>> {
    vec![
        abi::cases(),
        components::cases(bench.folder.path()),
        floods::cases(),
        grants::cases(bench),
        runaway::cases(),
        runaway::hooks(),
    ]
}

#[tokio::test]
async fn there_are_at_least_forty_cases_with_unique_names() {
    let tables = tables(&Bench::new());
    let mut names: Vec<&str> = tables.iter().flatten().map(|case| case.name.as_str()).collect();
    assert!(names.len() >= 40, "{} hostile cases", names.len());
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "two cases have the same name");
    for case in tables.iter().flatten() {
        let goes_on = matches!(case.expected, Expected::Refused(_));
        assert!(goes_on || case.counterpart.is_some(), "{} has no allowed counterpart", case.name);
    }
}
