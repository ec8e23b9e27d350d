//! The banner of a running host.

use super::{Cell, styles};
use crate::manifest::Pipeline;

/// Formats the banner: the address, the watched resources, and how to stop the host.
pub(crate) fn banner(pipeline: &Pipeline, url: &str) -> String {
    let mut text = format!(
        "\n  {} {}\n\n  {}  {}\n",
        Cell::new("Anacostia").style(styles::STRONG),
        Cell::new(&pipeline.name),
        Cell::new("open ").style(styles::FAINT),
        Cell::new(url).style(styles::BUSY),
    );
    for resource in pipeline.resources.iter().filter(|resource| resource.watch) {
        let place = pipeline.unexpanded_place(resource).unwrap_or_else(|| resource.location());
        text.push_str(&line("watch", &format!("{} in {place}", resource.name)));
    }
    text.push_str(&line("state", &pipeline.state.display().to_string()));
    text.push_str(&line("stop ", "Ctrl-C; running actions finish, or resume at the next start"));
    text.push('\n');
    text
}

fn line(name: &str, value: &str) -> String {
    format!("  {}  {}\n", Cell::new(name).style(styles::FAINT), Cell::new(value))
}

#[cfg(test)]
mod tests {
    use super::super::pipeline::tests::sample;
    use super::banner;

    #[test]
    fn banner_shows_the_address_and_the_watched_resources() {
        insta::assert_snapshot!(anstream::adapter::strip_str(&banner(&sample(), "http://127.0.0.1:8000")));
    }

    #[test]
    fn what_is_in_a_variable_is_not_shown() {
        let mut pipeline = sample();
        pipeline.tables = std::sync::Arc::new("[resources.raw]\npath = \"${TOKEN}/raw\"\n".parse().unwrap());
        let text = anstream::adapter::strip_str(&banner(&pipeline, "http://127.0.0.1:8000")).to_string();
        assert!(text.contains("raw in ${TOKEN}/raw\n"), "{text}");
    }
}
