//! Placeholders in texts and paths: `{run}` the run's number, `{attempt}`, `{action}`,
//! `{pipeline}`.

use anacostia_guest::run_context;

/// Returns the text with its placeholders replaced.
pub fn fill(text: &str) -> String {
    if !text.contains('{') {
        // A cached action that asks which run it is in is not cached.
        return text.to_owned();
    }
    let info = run_context::info();
    text.replace("{run}", &info.run_number.to_string())
        .replace("{attempt}", &info.attempt.to_string())
        .replace("{action}", &info.action)
        .replace("{pipeline}", &info.pipeline)
}
