//! Parses the lines of `/out/metrics.jsonl`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::base::{double, is_large_integer};
use crate::sandbox::bindings::anacostia::pipeline::metadata::Metric;

/// Maximum length of a line, in bytes.
const MAX_LINE_BYTES: usize = 16 << 10;

/// Parses lines from a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct MetricLines {
    exists: bool,
    /// Bytes after the last newline.
    begun: Vec<u8>,
    /// Whether the current line is too long, so that its rest is dropped.
    too_long: bool,
    lines: u64,
    pub(super) bad: u64,
    /// Bytes that were written.
    size: u64,
}

#[derive(Deserialize)]
struct Line<'a> {
    name: String,
    #[serde(borrow)]
    value: &'a RawValue,
    step: Option<u64>,
}

/// A complete line: its metric, `None` if it is empty, or why it is not a metric.
pub(super) type Read = Result<Option<Metric>, String>;

impl MetricLines {
    /// Returns whether the file exists: a program has opened it for writing.
    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    /// Creates the file: a program opens it for writing.
    pub(super) fn make(&mut self) {
        self.exists = true;
    }

    /// Bytes that were written.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes, and returns the lines that are now complete, with their numbers.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<(u64, Read)> {
        self.size = self.size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let mut complete = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = MAX_LINE_BYTES.saturating_sub(self.begun.len());
            self.too_long |= text.len() > room;
            self.begun.extend_from_slice(text.get(..room).unwrap_or(text));
            if text.len() < part.len() {
                complete.push(self.end_line());
            }
        }
        complete
    }

    fn end_line(&mut self) -> (u64, Read) {
        self.lines += 1;
        let line = std::mem::take(&mut self.begun);
        let read = if std::mem::take(&mut self.too_long) {
            Err(format!("it is longer than {MAX_LINE_BYTES} bytes"))
        } else if line.trim_ascii().is_empty() {
            Ok(None)
        } else {
            read(&line).map(Some)
        };
        (self.lines, read)
    }

    /// Ends a line without a newline, and returns it.
    pub(super) fn end(&mut self) -> Option<(u64, Read)> {
        (!self.begun.is_empty() || self.too_long).then(|| self.end_line())
    }
}

/// Parses a line. Accepts bare `NaN`, `Infinity`, `nan` and `inf`, because programs print them.
fn read(line: &[u8]) -> Result<Metric, String> {
    let unlike = |why| format!("it is not like {{\"name\": \"loss\", \"value\": 0.5, \"step\": 3}}: {why}");
    let failed = match serde_json::from_slice(line) {
        Ok(line) => return metric(line),
        Err(why) => why.to_string(),
    };
    let quoted = std::str::from_utf8(line).ok().and_then(double::quote_words);
    quoted
        .map_or(Err(unlike(failed)), |line| metric(serde_json::from_str(&line).map_err(|why| unlike(why.to_string()))?))
}

fn metric(Line { name, value, step }: Line<'_>) -> Result<Metric, String> {
    let text = value.get();
    if let Some(value) = double::of_spelling(text.trim_matches('"')) {
        return Ok(Metric { name, value, step });
    }
    if is_large_integer(text) {
        return Err(format!("its value {text} does not fit into 64 bits: write it with a fraction or an exponent"));
    }
    let value: f64 = text.parse().map_err(|_| format!("its value {text} is not a number"))?;
    if value.is_infinite() {
        return Err(format!("its value {text} is beyond the range of a double: the largest is about 1.8e308"));
    }
    // Every integer up to 2^53 is a double; beyond that only some are.
    let is_other = text.parse::<i128>().is_ok_and(|whole| format!("{value:.0}") != whole.to_string() && whole != 0);
    if is_other {
        return Err(format!("its value {text} is not a double: write it with a fraction or an exponent to round it"));
    }
    Ok(Metric { name, value, step })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(lines: Vec<(u64, Read)>) -> Vec<String> {
        let describe = |read: Read| match read {
            Ok(Some(metric)) => format!("{}={} at {:?}", metric.name, metric.value, metric.step),
            Ok(None) => "nothing".to_owned(),
            Err(why) => why.split(':').next().unwrap_or_default().to_owned(),
        };
        lines.into_iter().map(|(number, read)| format!("{number} {}", describe(read))).collect()
    }

    #[test]
    fn lines_split_across_writes_are_read() {
        let mut lines = MetricLines::default();
        assert!(described(lines.take(b"{\"name\":\"a\",\"val")).is_empty());
        assert_eq!(lines.size(), 16);
        assert_eq!(
            described(lines.take(b"ue\":1.5,\"step\":3,\"time\":\"now\"}\n\n{\"name\":\"b\",\"value\":2}")),
            ["1 a=1.5 at Some(3)", "2 nothing"]
        );
        assert_eq!(described(lines.end().into_iter().collect()), ["3 b=2 at None"]);
        assert!(lines.end().is_none());
    }

    #[test]
    fn bad_lines_do_not_affect_other_lines() {
        let mut lines = MetricLines::default();
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        assert!(lines.take(&long).is_empty());
        assert!(lines.take(&long).is_empty());
        let rest = b"\n{\"name\":\"a\",\"value\":nought}\n\xff\xfe\n{\"name\":\"a\",\"value\":1}\n";
        let described = described(lines.take(rest));
        assert_eq!(described[0], format!("1 it is longer than {MAX_LINE_BYTES} bytes"));
        assert!(
            described[1].starts_with("2 it is not like") && described[2].starts_with("3 it is not like"),
            "{described:?}"
        );
        assert_eq!(described[3], "4 a=1 at None");
    }

    #[test]
    fn nan_and_infinity_are_read_in_common_spellings() {
        let of = |value: &str| read(format!("{{\"name\":\"NaN\",\"value\":{value},\"step\":2}}").as_bytes()).unwrap();
        assert!(of("NaN").value.is_nan() && of("\"NaN\"").value.is_nan());
        assert_eq!(of("-Infinity").value.to_bits(), f64::NEG_INFINITY.to_bits());
        assert!(["nan", "-nan", "NAN", "\"nan\""].iter().all(|text| of(text).value.is_nan()));
        for (text, value) in [("inf", f64::INFINITY), ("+inf", f64::INFINITY), ("-inf", f64::NEG_INFINITY)] {
            assert_eq!(of(text).value.to_bits(), value.to_bits(), "{text}");
        }
        let infinite = of("\"Infinity\"");
        assert_eq!((infinite.name.as_str(), infinite.value, infinite.step), ("NaN", f64::INFINITY, Some(2)));
    }

    #[test]
    fn an_integer_that_only_a_float_could_hold_is_refused() {
        let of = |value: &str| read(format!("{{\"name\":\"a\",\"value\":{value}}}").as_bytes());
        let why = of("123456789012345678901234567890").unwrap_err();
        let said = "its value 123456789012345678901234567890 does not fit into 64 bits: write it with a fraction or an exponent";
        assert_eq!(why, said);
        assert_eq!(of("\"0.5\"").unwrap_err(), "its value \"0.5\" is not a number");
        assert_eq!(of("-7").unwrap().value.to_bits(), (-7.0_f64).to_bits());
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(1_500))]
        #[test]
        fn every_double_is_read_exactly(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            let line = serde_json::json!({ "name": "a", "value": value }).to_string();
            proptest::prop_assert_eq!(read(line.as_bytes()).unwrap().value.to_bits(), value.to_bits());
        }
    }

    #[test]
    fn a_value_is_exact_or_refused_with_the_reason() {
        let value = |text: &str| read(format!(r#"{{"name":"a","value":{text}}}"#).as_bytes());
        for (text, double) in [
            ("9007199254740992", 9_007_199_254_740_992.0),
            ("1e23", 1e23),
            ("-3", -3.0),
            ("0", 0.0),
            ("5e-324", 5e-324),
        ] {
            assert_eq!(value(text).map(|metric| metric.value.to_bits()), Ok(f64::to_bits(double)), "{text}");
        }
        let rounded = "its value 9007199254740993 is not a double: write it with a fraction or an exponent to round it";
        assert_eq!(value("9007199254740993").err().as_deref(), Some(rounded));
        let beyond = "its value -1e400 is beyond the range of a double: the largest is about 1.8e308";
        assert_eq!(value("-1e400").err().as_deref(), Some(beyond));
    }
}
