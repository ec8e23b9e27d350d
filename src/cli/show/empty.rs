//! The message for an empty list: why it is empty, and what to do next.

use super::pipeline::place;
use super::{beside, plain};
use crate::manifest::Pipeline;

/// Formats the message for a pipeline without records. `host` tells whether a host is running,
/// `path` is the PATH that leads to the pipeline.
pub(crate) fn nothing_yet(what: &str, pipeline: &Pipeline, host: bool, path: &str) -> String {
    let mut steps = Vec::new();
    if !host {
        let path = beside(path);
        steps.push(format!("start the pipeline with `anacostia run{path}`"));
    }
    if let Some(resource) = pipeline.resources.iter().find(|resource| resource.watch) {
        let place = place(resource, pipeline);
        steps.push(format!("{} {place}, which `{}` watches", resource.how_to_add(), resource.name));
    }
    let then = if steps.is_empty() { String::new() } else { format!(": {}", steps.join(", and ")) };
    format!("no {what} yet{}\n", plain(&then))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::pipeline::tests::sample;
    use super::nothing_yet;
    use crate::manifest::{ResourceKind, SqlDatabase, SqlSpec};

    #[test]
    fn advice_depends_on_what_is_recorded() {
        let mut pipeline = sample();
        assert_eq!(
            nothing_yet("runs", &pipeline, false, "."),
            "no runs yet: start the pipeline with `anacostia run`, and put a file into data/raw, which `raw` watches\n"
        );
        assert_eq!(
            nothing_yet("artifacts", &pipeline, true, "a"),
            "no artifacts yet: put a file into data/raw, which `raw` watches\n"
        );
        let path = PathBuf::from("/pipeline/data/app.db");
        let database = SqlDatabase::Sqlite { path };
        let sql = SqlSpec { database, password: None, rows: None, keep: 0, max_kept: 0 };
        pipeline.resources[0].kind = ResourceKind::Sql(sql);
        assert_eq!(
            nothing_yet("runs", &pipeline, true, "."),
            "no runs yet: add a row to data/app.db, which `raw` watches\n"
        );
        pipeline.resources.clear();
        assert_eq!(
            nothing_yet("runs", &pipeline, false, "a"),
            "no runs yet: start the pipeline with `anacostia run a`\n"
        );
    }
}
