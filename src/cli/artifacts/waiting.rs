//! `anacostia artifacts list --waiting`: files that a watch has found and cannot record yet.
//!
//! They are not on record: only a running host knows them, and is asked over HTTP.

use serde_json::{Value, json};

use crate::cli::load::{PathArg, load_for_records};
use crate::cli::{End, Failure, open, out, show};

/// Lists the waiting files of all resources or of one.
pub(super) fn list(path: &PathArg, resource: Option<&str>, as_json: bool) -> Result<End, Failure> {
    let pipeline = load_for_records(path)?;
    let host = open::running_host(&pipeline, path, "knows what waits")?;
    let nodes = host.get("nodes")?;
    let nodes = nodes.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (mut items, mut count) = (Vec::new(), 0);
    for node in nodes {
        let name = node.get("name").and_then(Value::as_str).unwrap_or_default();
        let Some(waiting) = node.pointer("/resource/waiting").filter(|_| resource.is_none_or(|asked| asked == name))
        else {
            continue;
        };
        count += waiting.get("count").and_then(Value::as_u64).unwrap_or_default();
        for item in waiting.get("items").and_then(Value::as_array).into_iter().flatten() {
            let mut item = item.clone();
            if let Some(item) = item.as_object_mut() {
                item.insert("resource".to_owned(), json!(name));
            }
            items.push(item);
        }
    }
    if as_json {
        out::json(&json!({ "items": items, "count": count, "next_cursor": null }))?;
    } else if items.is_empty() {
        out::error("Nothing waits: all that was found is on record.\n");
    } else {
        out::result(&items.iter().map(line).collect::<String>())?;
        let more = count.saturating_sub(items.len() as u64);
        if more > 0 {
            out::error(&format!("There are {more} more.\n"));
        }
    }
    Ok(End::Well)
}

fn line(item: &Value) -> String {
    let text = |key: &str| show::plain(item.get(key).and_then(Value::as_str).unwrap_or_default());
    format!("{}/{} is {}, since {}\n", text("resource"), text("path"), text("reason"), text("since"))
}
