//! Steps that query and change databases.

use anacostia_guest::database::{self, Value};
use anacostia_guest::{Error, Result, log, read_all, resources};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::text::fill;

/// Runs a query and compares its rows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    from: String,
    sql: String,
    #[serde(default)]
    params: Vec<Json>,
    /// All rows.
    expect: Option<Json>,
    /// The names of the columns.
    columns: Option<Vec<String>>,
    /// The number of rows, if they are too many to list.
    count: Option<u64>,
    /// After how many rows to stop.
    stop_after: Option<u64>,
}

impl Query {
    pub fn perform(&self) -> Result<()> {
        let rows = database::query(&self.from, &self.sql, &values(&self.params))?;
        if let Some(columns) = self.columns.as_ref().filter(|columns| **columns != rows.columns()) {
            return Err(Error::permanent(format!("the columns are {:?}, not {columns:?}", rows.columns())));
        }
        let (mut count, mut all) = (0, Vec::new());
        loop {
            let page = rows.next(1_000)?;
            if page.is_empty() || self.stop_after.is_some_and(|most| count >= most) {
                break;
            }
            count += page.len() as u64;
            if self.expect.is_some() {
                all.extend(page.into_iter().map(|row| row.into_iter().map(json).collect::<Json>()));
            }
        }
        log::info("queried", &[("rows", &count)]);
        if let Some(wanted) = self.count.filter(|wanted| *wanted != count) {
            return Err(Error::permanent(format!("there are {count} rows, not {wanted}")));
        }
        let found = Json::from(all);
        match self.expect.as_ref().filter(|wanted| **wanted != found) {
            Some(wanted) => Err(Error::permanent(format!("the rows are {found}, not {wanted}"))),
            None => Ok(()),
        }
    }
}

/// Adds a statement to those that change a database.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Execute {
    to: String,
    sql: String,
    #[serde(default)]
    params: Vec<Json>,
    /// How many times, each with its number as one more parameter.
    times: Option<i64>,
    /// A resource: once for each input, with its path and its content as two more parameters.
    inputs: Option<String>,
}

impl Execute {
    pub fn perform(&self) -> Result<()> {
        let params = values(&self.params);
        if let Some(from) = &self.inputs {
            for input in resources::inputs(from)? {
                let content = read_all(&resources::open(&input.id)?)?;
                let content = String::from_utf8_lossy(&content).into_owned();
                let mut params = params.clone();
                params.extend([Value::Text(input.path), Value::Text(content)]);
                database::execute(&self.to, &self.sql, &params)?;
            }
            return Ok(());
        }
        let Some(times) = self.times else { return database::execute(&self.to, &self.sql, &params) };
        for number in 1..=times {
            let mut params = params.clone();
            params.push(Value::Integer(number));
            database::execute(&self.to, &self.sql, &params)?;
        }
        Ok(())
    }
}

fn values(params: &[Json]) -> Vec<Value> {
    params.iter().map(value).collect()
}

/// `{"bytes": [0, 255]}` is bytes, and `{"real": "NaN"}` is a number.
fn value(param: &Json) -> Value {
    match param {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Value::Real(number.as_f64().unwrap_or(f64::NAN)), Value::Integer)
        }
        Json::String(text) => Value::Text(fill(text)),
        Json::Object(object) => match &object.get("real") {
            Some(real) => Value::Real(real.as_str().and_then(|text| text.parse().ok()).unwrap_or(0.0)),
            None => Value::Bytes(serde_json::from_value(param["bytes"].clone()).unwrap_or_default()),
        },
        Json::Array(_) => Value::Text(param.to_string()),
    }
}

fn json(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => value.into(),
        Value::Integer(value) => value.into(),
        Value::Real(value) if value.is_finite() => value.into(),
        Value::Real(value) => json!({ "real": value.to_string() }),
        Value::Text(text) => text.into(),
        Value::Bytes(bytes) => json!({ "bytes": bytes }),
    }
}
