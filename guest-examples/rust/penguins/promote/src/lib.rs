//! Promotes the new model if it is better than the model in use, and writes a report on it.

mod plot;
mod report;

use anacostia_guest::metadata;
use anacostia_guest::resources::{self, CreateOptions};
use anacostia_guest::{Error, Outcome, Result, copy, log, run_context, write_all};
use penguins::score::{Evaluation, Score};
use penguins::{because, content, only_input};

use plot::Line;

anacostia_guest::action!(run);

/// The maximum number of earlier runs in the plot.
const PLOTTED_RUNS: u32 = 200;

fn run() -> Result<Outcome> {
    let evaluation: Evaluation =
        serde_json::from_slice(&content(&only_input("evaluations")?)?).map_err(because("the evaluation is damaged"))?;
    let accuracy = evaluation.new.accuracy();
    if !evaluation.is_better() {
        let in_use = evaluation.in_use.map_or(0.0, |score| score.accuracy());
        return Ok(Outcome::Skip(format!("not promoted: accuracy {accuracy:.3} is not better than {in_use:.3}")));
    }
    let model = promote()?;
    report(&evaluation, &model)?;
    log::info("promoted", &[("model", &model), ("accuracy", &format!("{accuracy:.3}"))]);
    Ok(Outcome::Done(Some(format!("promoted: {model}, accuracy {accuracy:.3}"))))
}

/// Copies the new model to `models` and moves the tag `production` to it. Both take effect
/// together, when this action publishes.
fn promote() -> Result<String> {
    let candidate = only_input("candidates")?;
    let writer = resources::create("models", &candidate.path, CreateOptions { overwrite: false })?;
    copy(&resources::open(&candidate.id)?, &writer)?;
    let model = writer.finish()?;
    if model.digest != candidate.digest {
        return Err(Error::temporary(format!("the copy of {} is not what it was copied from", candidate.path)));
    }
    metadata::tag_artifact(&model.id, "production", true)?;
    Ok(model.path)
}

/// Writes a page in Markdown, and the plot that it shows.
fn report(evaluation: &Evaluation, model: &str) -> Result<()> {
    let run = run_context::info().run_number;
    let in_use = evaluation.in_use.as_ref().map(Score::accuracy);
    let lines = [
        Line {
            name: "new model",
            color: "#087f5b",
            points: history("holdout_accuracy", run, Some(evaluation.new.accuracy()))?,
        },
        Line { name: "model in use", color: "#868e96", points: history("holdout_accuracy_in_use", run, in_use)? },
    ];
    let plot = format!("accuracy-{run:04}.svg");
    write_all("reports", &plot, plot::draw("Hold-out accuracy of each run", &lines).as_bytes())?;
    let page = report::write(run, model, evaluation, &plot);
    write_all("reports", &format!("report-{run:04}.md"), page.as_bytes())?;
    Ok(())
}

/// Returns the values of a metric in earlier runs and in this one, oldest first, each with the
/// number of its run.
fn history(metric: &str, run: u64, now: Option<f64>) -> Result<Vec<(u64, f64)>> {
    let earlier = metadata::metrics(metric, PLOTTED_RUNS)?;
    let mut points: Vec<_> = earlier.into_iter().rev().map(|past| (past.run_number, past.value)).collect();
    points.extend(now.map(|value| (run, value)));
    Ok(points)
}
