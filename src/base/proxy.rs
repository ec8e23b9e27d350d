//! The proxies of the environment, as the HTTP clients of libraries use them.

use std::sync::OnceLock;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// The variables that name proxies. Of each two, the second counts if the first is not set.
const VARIABLES: [[&str; 2]; 3] =
    [["HTTP_PROXY", "http_proxy"], ["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]];

/// Names the proxy of a request that could not be connected, to append to the error, because the
/// proxy itself may be unreachable. Empty if there is none.
#[must_use]
pub fn through(error: &reqwest::Error) -> String {
    let url = error.url().filter(|_| error.is_connect());
    url.map(|url| on_the_way_to(url.as_str())).unwrap_or_default()
}

/// The same for a request to `url`, if it is known that it could not be connected.
#[must_use]
pub fn on_the_way_to(url: &str) -> String {
    static ENVIRONMENT: OnceLock<Matcher> = OnceLock::new();
    let proxy = named(ENVIRONMENT.get_or_init(Matcher::from_env), url);
    proxy.map(|it| format!(", through the proxy {it} of the environment")).unwrap_or_default()
}

/// Returns the proxy of a request to `url`, without the credentials for it.
fn named(matcher: &Matcher, url: &str) -> Option<String> {
    let found = matcher.intercept(&url.parse().ok()?)?;
    Some(format!("{}://{}", found.uri().scheme_str()?, found.uri().authority()?))
}

/// Returns the variables of the environment that should name a proxy, and do not. Libraries
/// silently ignore them.
#[must_use]
pub fn misread() -> Vec<&'static str> {
    let read = |name: &str| std::env::var(name).ok();
    VARIABLES.iter().filter_map(|names| misread_of(*names, &read)).collect()
}

fn misread_of(names: [&'static str; 2], read: &dyn Fn(&str) -> Option<String>) -> Option<&'static str> {
    let (name, value) = names.into_iter().find_map(|name| Some((name, read(name)?)))?;
    let server = Uri::from_static("http://server.invalid");
    let is_proxy = || Matcher::builder().all(value.as_str()).build().intercept(&server).is_some();
    (!value.is_empty() && !is_proxy()).then_some(name)
}

#[cfg(test)]
mod tests {
    use hyper_util::client::proxy::matcher::Matcher;

    use super::{misread_of, named};

    #[test]
    fn a_proxy_is_named_without_its_credentials() {
        let environment = Matcher::builder().all("http://user:s3cret@proxy.test:3128").no("near.test").build();
        let proxy = |url| named(&environment, url);
        assert_eq!(proxy("https://api.test/x?y=z").as_deref(), Some("http://proxy.test:3128"));
        assert_eq!((proxy("http://near.test/"), proxy("not a URL")), (None, None));
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_found() {
        let names = ["HTTP_PROXY", "http_proxy"];
        let found = |first: Option<&str>, second: Option<&str>| {
            misread_of(names, &|name| (if name == names[0] { first } else { second }).map(str::to_owned))
        };
        for good in ["http://proxy.test:3128", "proxy.test:3128", "https://u:p@proxy.test", ""] {
            assert_eq!(found(Some(good), Some("ftp://x")), None, "{good}");
        }
        for bad in ["http//proxy.test:3128", "ftp://proxy.test", "http://[::1", "a b"] {
            assert_eq!(found(Some(bad), None), Some("HTTP_PROXY"), "{bad}");
            assert_eq!(found(None, Some(bad)), Some("http_proxy"), "{bad}");
        }
    }
}
