//! The arguments of the scripts: JSON whose numbers are texts, without absent values. Lua has
//! neither integers nor a null that is false.

use serde_json::Value;

use super::reply::{Fail, Work};
use crate::base::Timestamp;
use crate::base::bounds::MAX_FILTER_VALUE_CHARS;
use crate::store::StoreError;

/// The largest number that a script can compare and add exactly.
pub(super) const MAX_NUMBER: u64 = 1 << 53;

/// Writes arguments as the scripts take them.
pub(super) fn written(arguments: Value) -> Work<String> {
    Ok(plain(arguments)?.to_string())
}

/// Returns arguments with these too.
pub(super) fn with<'n>(mut arguments: Value, more: impl IntoIterator<Item = (&'n str, Value)>) -> Value {
    if let Value::Object(fields) = &mut arguments {
        fields.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    arguments
}

fn plain(value: Value) -> Work<Value> {
    Ok(match value {
        Value::Number(number) => {
            if number.as_u64().is_some_and(|number| number > MAX_NUMBER) {
                let why = format!("{number} is too large: numbers are at most {MAX_NUMBER}");
                return Err(Fail::Rule(StoreError::Invalid(why)));
            }
            Value::String(number.to_string())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect::<Work<_>>()?),
        Value::Object(fields) => {
            let present = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(present.map(|(name, value)| Ok((name, plain(value)?))).collect::<Work<_>>()?)
        }
        other => other,
    })
}

/// A time, in microseconds.
pub(super) fn time(time: Timestamp) -> i64 {
    time.as_micros()
}

/// A number that only has to be compared: beyond the largest, all are the same.
pub(super) fn bounded(number: u64) -> u64 {
    number.min(MAX_NUMBER)
}

/// A number of a list, of which every one is less than the largest.
pub(super) fn bound(number: i64) -> i64 {
    number.min(MAX_NUMBER.cast_signed())
}

/// Whether runs are found by a value.
pub(super) fn is_short(value: &str) -> bool {
    value.chars().count() <= MAX_FILTER_VALUE_CHARS
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::written;

    #[test]
    fn arguments_have_numbers_as_texts_and_no_null() {
        let given = json!({ "a": 1, "b": null, "c": [true, { "d": -5, "e": null }], "f": "x" });
        assert_eq!(written(given).unwrap(), r#"{"a":"1","c":[true,{"d":"-5"}],"f":"x"}"#);
        let error = written(json!([u64::MAX])).unwrap_err().to_string();
        assert_eq!(error, "18446744073709551615 is too large: numbers are at most 9007199254740992");
    }
}
