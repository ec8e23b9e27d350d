//! Log lines.

use std::fmt::Write as _;

use anstyle::Style;

use super::{Cell, plain, styles};
use crate::model::{LogLevel, LogLine, LogStream};

/// Formats one log line: time (UTC), `who`, level, text, fields. `who` is the action, with the
/// number of the attempt if it is not the first. `width` is the width of the widest `who`.
pub(crate) fn log_line(line: &LogLine, who: &str, width: usize) -> String {
    let time: String = line.t.to_string().chars().skip(11).take(12).collect();
    let (level, style) = level_look(line.level);
    let mut text = format!(
        "{}  {}{:blanks$}  {}  ",
        Cell::new(format!("{time}Z")).style(styles::FAINT),
        Cell::new(who),
        "",
        Cell::new(level).style(style),
        blanks = width.saturating_sub(who.chars().count())
    );
    if line.stream != LogStream::Log {
        let _ = write!(text, "{} ", Cell::new(format!("[{}]", line.stream)).style(styles::FAINT));
    }
    text.push_str(&plain(&line.text));
    for (name, value) in &line.fields {
        let value = if value.contains([' ', '"', '=']) { format!("{value:?}") } else { plain(value) };
        let _ = write!(text, "  {}{value}", Cell::new(format!("{name}=")).style(styles::FAINT));
    }
    text.push('\n');
    text
}

fn level_look(level: LogLevel) -> (&'static str, Style) {
    match level {
        LogLevel::Debug => ("debug", styles::FAINT),
        LogLevel::Info => ("info ", styles::PLAIN),
        LogLevel::Warn => ("warn ", styles::WARN),
        LogLevel::Error => ("error", styles::BAD),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::log_line;
    use crate::model::{LogLevel, LogLine, LogStream};

    #[test]
    fn lines_are_aligned_and_show_their_source() {
        let mut text = log_line(&samples::line(LogLevel::Info, "read"), "train", 9);
        let host =
            LogLine { stream: LogStream::Host, fields: vec![], ..samples::line(LogLevel::Error, "stopped\u{7}") };
        text.push_str(&log_line(&host, "prepare#2", 9));
        insta::assert_snapshot!(anstream::adapter::strip_str(&text));
    }
}
