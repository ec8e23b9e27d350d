//! A trigger component that does what its params say, or what the names of the new files say.

use std::time::Duration;

use anacostia_guest::metadata::{self, Entry, Metric};
use anacostia_guest::trigger::{self, Decision};
use anacostia_guest::{Error, Result, log};

anacostia_guest::decider!(decide);

#[derive(serde::Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Mode {
    /// Fires.
    Fire,
    /// Skips.
    Skip,
    /// Fires if this many artifacts are new.
    Count { least: u64 },
    /// Fires if the newest value of a metric is less.
    Metric { name: String, below: f64 },
    /// Does what the name of the newest file says, up to the first `-`.
    ByName,
    /// Tries what a trigger may not do, and skips with the results.
    Forbidden { other: String },
    /// Skips with what it sees.
    Look,
}

#[derive(serde::Deserialize)]
struct Params {
    #[serde(flatten)]
    mode: Mode,
}

fn decide() -> Result<Decision> {
    let params: Params =
        serde_json::from_str(&trigger::params()).map_err(|why| Error::permanent(why.to_string()))?;
    let info = trigger::info();
    log::info("asked", &[("trigger", &info.trigger)]);
    match params.mode {
        Mode::Fire => Ok(trigger::fire("as always")),
        Mode::Skip => Ok(trigger::skip("as always")),
        Mode::Count { least } => {
            let mut count = 0;
            for resource in &info.resources {
                count += trigger::count_new(resource)?.count;
            }
            Ok(if count < least {
                trigger::skip(format!("{count} of {least}"))
            } else {
                trigger::fire(format!("{count} are enough"))
            })
        }
        Mode::Metric { name, below } => Ok(match metadata::latest_metric(&name)? {
            Some(metric) if metric.value < below => trigger::fire(format!("{name} is {}", metric.value)),
            Some(metric) => trigger::skip(format!("{name} is {}", metric.value)),
            None => trigger::skip(format!("no {name}")),
        }),
        Mode::ByName => by_name(&info.resources[0], &info.now),
        Mode::Forbidden { other } => Ok(trigger::skip(forbidden(&other))),
        Mode::Look => look(&info.resources[0], info.fired_at.is_some()),
    }
}

fn by_name(resource: &str, now: &str) -> Result<Decision> {
    let all = trigger::all_new(resource)?;
    let Some(newest) = all.last() else { return Ok(trigger::skip("nothing new")) };
    match newest.path.split('-').next().unwrap_or_default() {
        "fire" => Ok(trigger::fire(format!("{} says so", newest.path))),
        "skip" => Ok(trigger::skip(format!("{} says so", newest.path))),
        "later" => {
            let age = (86_400 + seconds(now) - seconds(&newest.created_at)) % 86_400;
            Ok(if age < 2 {
                trigger::ask_again(Duration::from_millis(1), format!("{} is too young", newest.path))
            } else {
                trigger::fire(format!("{} is old enough", newest.path))
            })
        }
        "error" => Err(Error { code: "sensor".to_owned(), message: "the sensor is broken".to_owned(), retryable: false }),
        "panic" => panic!("no idea"),
        "spin" => loop {
            std::hint::black_box(0);
        },
        "flood" => loop {
            log::info(&"x".repeat(800), &[]);
        },
        "allocate" => {
            let mut all = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        "long" => Ok(trigger::skip(format!("first\nsecond\u{1b}[31m {}", "x".repeat(100_000)))),
        "empty" => Ok(trigger::skip(" \n ")),
        other => Err(Error::permanent(format!("unknown: {other}"))),
    }
}

/// Returns the seconds of the day of a timestamp.
fn seconds(at: &str) -> u64 {
    let part = |from: usize| at.get(from..from + 2).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    (part(11) * 60 + part(14)) * 60 + part(17)
}

fn forbidden(other: &str) -> String {
    let entry = || [Entry { name: "a".to_owned(), value: "b".to_owned() }];
    let metric = Metric { name: "a".to_owned(), value: 1.0, step: None };
    let id = "01890000-0000-7000-8000-000000000000";
    let results = [
        ("count", trigger::count_new(other).err()),
        ("list", trigger::list_new(other, None, None).err()),
        ("present", trigger::list_present(other, None, None).err()),
        ("metrics", metadata::log_metrics(&[metric]).err()),
        ("params", metadata::log_params(&entry()).err()),
        ("tags", metadata::set_tags(&entry()).err()),
        ("tag", metadata::tag_artifact(id, "best", true).err()),
    ];
    let shown = results.map(|(call, error)| format!("{call} {}", error.map_or("allowed".to_owned(), |it| it.code)));
    shown.join(", ")
}

fn look(resource: &str, has_fired: bool) -> Result<Decision> {
    let count = trigger::count_new(resource)?;
    let (mut paths, mut pages) = (Vec::new(), 0);
    let mut after: Option<String> = None;
    loop {
        let page = trigger::list_new(resource, after.as_deref(), Some(2))?;
        pages += 1;
        after = page.last().map(|last| last.id.clone());
        let is_last = page.len() < 2;
        paths.extend(page.into_iter().map(|artifact| format!("{} {}", artifact.path, artifact.size)));
        if is_last {
            break;
        }
    }
    let none = "01890000-0000-7000-8000-000000000000";
    let wrong = trigger::list_new(resource, Some(none), None).map_or_else(|error| error.code, |_| "a page".to_owned());
    let mut present = trigger::list_present(resource, None, Some(1))?;
    if let Some(first) = present.first() {
        present.extend(trigger::list_present(resource, Some(&first.artifact.path.clone()), None)?);
    }
    let present: Vec<String> = present.into_iter().map(|it| format!("{} {}", it.artifact.path, it.state)).collect();
    let present = present.join(", ");
    let runs = metadata::runs(10)?.len();
    Ok(trigger::skip(format!(
        "{} with {} bytes: {} in {pages} pages; {wrong}; {present}; {runs} runs; fired {has_fired}",
        count.count,
        count.bytes,
        paths.join(", ")
    )))
}
