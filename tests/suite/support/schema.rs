//! Reads the JSON Schema of a manifest.

use serde_json::Value;

/// Returns the kinds of a table whose keys depend on its `kind`, each with the rest of the JSON
/// pointer to the schema of its keys.
pub(crate) fn kinds(table: &Value) -> Vec<(String, String)> {
    // The first form is that of a kind from the environment, which may be any.
    let (mut found, mut place): (Vec<(String, String)>, _) = (Vec::new(), "/else".to_owned());
    loop {
        let form = table.pointer(&place).expect("a form for each kind");
        if let Some(kind) = form["if"]["properties"]["kind"]["const"].as_str() {
            found.push((kind.to_owned(), format!("{place}/then")));
            place.push_str("/else");
            continue;
        }
        // The last form is that of the kind that has no other.
        let all = form["properties"]["kind"]["anyOf"][0]["enum"].as_array().expect("the names of the kinds");
        let mut all = all.iter().filter_map(Value::as_str);
        let last = all.find(|kind| !found.iter().any(|(known, _)| known == kind)).expect("one more kind");
        found.push((last.to_owned(), place));
        return found;
    }
}
