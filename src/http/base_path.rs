//! The path below which people reach the server: `base_path` of `[server]`.
//!
//! A request may have it or not: some proxies take it off the address, others do not, and programs
//! on this machine need not know it. What browsers follow always has it.

use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Uri, header};

/// Takes `base` off an address, if it is there.
pub(super) fn take_off(base: &str, uri: &mut Uri) {
    if base.is_empty() {
        return;
    }
    let Some(target) = uri.path_and_query().map(PathAndQuery::as_str) else { return };
    let below = match target.strip_prefix(base) {
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        Some(rest) if rest.is_empty() || rest.starts_with('?') => format!("/{rest}"),
        _ => return,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = below.parse().ok();
    if let Ok(below) = Uri::from_parts(parts) {
        *uri = below;
    }
}

/// Puts `base` before the address to which an answer leads.
pub(super) fn put_before(base: &str, headers: &mut HeaderMap) {
    let Some(leads_to) = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()) else { return };
    if leads_to.starts_with('/')
        && let Ok(below) = HeaderValue::try_from(format!("{base}{leads_to}"))
    {
        headers.insert(header::LOCATION, below);
    }
}

#[cfg(test)]
mod tests {
    use super::take_off;

    #[test]
    fn the_path_is_taken_off_where_it_ends_with_a_part() {
        let without = |base: &str, target: &str| {
            let mut uri = target.parse().unwrap();
            take_off(base, &mut uri);
            uri.to_string()
        };
        for (given, below) in [
            ("/ml", "/"),
            ("/ml?a=1", "/?a=1"),
            ("/ml/", "/"),
            ("/ml/runs/1?a=%2F", "/runs/1?a=%2F"),
            ("/ml//runs", "//runs"),
            ("/mlx", "/mlx"),
            ("/runs", "/runs"),
            ("/", "/"),
            ("/x/ml/runs", "/x/ml/runs"),
            ("http://a.example/ml/runs", "http://a.example/runs"),
        ] {
            assert_eq!(without("/ml", given), below, "{given}");
        }
        assert_eq!(without("", "/ml/runs"), "/ml/runs");
    }
}
