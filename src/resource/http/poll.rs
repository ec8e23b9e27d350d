//! Gets the page, or all pages, of one poll.
//!
//! A list that is paged by `Link` is read from its start each time, because items move from page to
//! page; unchanged pages cost a conditional request. A list that is paged by a cursor grows at its
//! end: a poll continues at the last page that the previous one has seen.

use std::collections::BTreeSet;

use reqwest::header::{ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Method, Response, StatusCode, Url};

use super::Endpoint;
use super::client::{Failure, refused};
use super::paging::{next_link, on_same_server, value_in};
use super::progress::{Address, Page, Progress};
use crate::base::{ByteSize, Digest, bounds};
use crate::manifest::Paging;
use crate::model::Observation;
use crate::resource::kept::{Draft, blocking};

/// The most pages of one poll.
pub(super) const MAX_PAGES: usize = 1_000;

/// What is polled.
pub(super) struct Source<'a> {
    pub(super) url: Url,
    /// The path of the artifact.
    pub(super) path: &'a str,
    pub(super) paging: Option<&'a Paging>,
}

/// What a poll has found.
pub(super) struct Found {
    pub(super) seen: Vec<Observation>,
    pub(super) progress: Progress,
    /// Why the poll has ended early. What it found before is complete.
    pub(super) failure: Option<Failure>,
    /// Whether there are more pages to get at once.
    pub(super) more: bool,
}

impl Source<'_> {
    /// Identifies what is polled.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(format!("{} {} {:?}", self.url, self.path, self.paging).as_bytes())
    }

    /// Returns the path of a page: with paging, that of the artifact with the number before its
    /// extension.
    fn path_of(&self, page: u64) -> String {
        if self.paging.is_none() {
            return self.path.to_owned();
        }
        let name = self.path.rfind('/').map_or(0, |slash| slash + 1);
        let dot = self.path.rfind('.').filter(|dot| *dot > name).unwrap_or(self.path.len());
        let (stem, extension) = self.path.split_at(dot);
        format!("{stem}-{page:06}{extension}")
    }

    fn url_of(&self, address: &Address) -> Result<Url, Failure> {
        match (address, self.paging) {
            (Address::First, _) => Ok(self.url.clone()),
            (Address::Url(url), _) => Url::parse(url).map_err(|_| Failure::new("the address of a page is not a URL")),
            (Address::After(value), Some(Paging::Cursor { param, .. })) => {
                let mut url = self.url.clone();
                url.query_pairs_mut().append_pair(param, value);
                Ok(url)
            }
            (Address::After(_), _) => Err(Failure::new("the position of a page is no longer known")),
        }
    }

    /// Returns whether a poll continues at the last page.
    fn goes_on(&self) -> bool {
        matches!(self.paging, Some(Paging::Cursor { .. }))
    }
}

/// Polls once. If a list is read as a whole and one page fails, none of its pages count.
pub(super) async fn poll(endpoint: &Endpoint, source: &Source<'_>, before: &Progress) -> Found {
    let mut found = Found { seen: Vec::new(), progress: Progress::new(source.digest()), failure: None, more: false };
    let last = before.pages.last().filter(|_| source.goes_on());
    let mut at = last.map_or((1, Address::First), |page| (page.number, page.address.clone()));
    let mut visited = BTreeSet::new();
    loop {
        let (number, address) = at;
        visited.insert(address.clone());
        let got =
            get(endpoint, source, number, &address, before.page(number, &address)).await.and_then(|got| {
                match got.0.next.as_ref().filter(|next| visited.contains(next)) {
                    Some(_) => Err(Failure::new("a page names a page before it, or itself, as the next one")),
                    None => Ok(got),
                }
            });
        let (page, observation) = match got {
            Ok(got) => got,
            Err(failure) => {
                if !source.goes_on() {
                    (found.seen, found.progress) = (Vec::new(), before.clone());
                } else if found.progress.pages.is_empty() {
                    found.progress = before.clone();
                }
                found.failure = Some(failure);
                return found;
            }
        };
        let next = page.next.clone();
        found.seen.extend(observation);
        if source.goes_on() {
            found.progress.pages.clear();
        }
        found.progress.pages.push(page);
        let Some(next) = next else { break };
        if visited.len() >= MAX_PAGES {
            if source.goes_on() {
                // The next poll begins with this page again, which is unchanged.
                found.more = true;
                return found;
            }
            (found.seen, found.progress) = (Vec::new(), before.clone());
            found.failure = Some(Failure::new(format!("it has more than {MAX_PAGES} pages")));
            return found;
        }
        at = (number + 1, next);
    }
    gone(source, before, &mut found);
    found
}

/// Adds an observation for each page that the list no longer has.
fn gone(source: &Source<'_>, before: &Progress, found: &mut Found) {
    if source.goes_on() {
        return;
    }
    let last = found.progress.pages.last().map_or(0, |page| page.number);
    let gone = before.pages.iter().filter(|page| page.number > last);
    found.seen.extend(gone.map(|page| Observation::Gone { path: source.path_of(page.number) }));
}

/// Gets one page, if it differs from what is known.
async fn get(
    endpoint: &Endpoint,
    source: &Source<'_>,
    number: u64,
    address: &Address,
    known: Option<&Page>,
) -> Result<(Page, Option<Observation>), Failure> {
    let url = source.url_of(address)?;
    let mut request = endpoint.client.request(Method::GET, &url)?;
    if let Some(etag) = known.and_then(|page| page.etag.as_ref()) {
        request = request.header(IF_NONE_MATCH, etag);
    }
    if let Some(time) = known.and_then(|page| page.last_modified.as_ref()) {
        request = request.header(IF_MODIFIED_SINCE, time);
    }
    let response = endpoint.client.send(request).await?;
    match (response.status(), known) {
        (StatusCode::NOT_MODIFIED, Some(known)) => return Ok((known.clone(), None)),
        (StatusCode::PARTIAL_CONTENT, _) => return Err(refused(&response)),
        (status, _) if status.is_success() => {}
        _ => return Err(refused(&response)),
    }
    let (etag, last_modified) = (text(&response, &ETAG), text(&response, &LAST_MODIFIED));
    let link = next_link(response.headers());
    let page_url = response.url().clone();
    let mut page = Page { number, address: address.clone(), digest: None, etag, last_modified, next: None };
    if response.status() == StatusCode::NO_CONTENT {
        page.digest = known.and_then(|page| page.digest);
        return Ok((page, None));
    }
    let draft = body(endpoint, response).await?;
    page.next = match source.paging {
        None => None,
        Some(Paging::Link) => link.map(|link| next_by_link(endpoint, &page_url, &link)).transpose()?,
        Some(Paging::Cursor { field, .. }) => next_by_cursor(&draft, field).await?.map(Address::After),
    };
    page.digest = Some(draft.digest());
    if known.is_some_and(|known| known.digest == page.digest) {
        return Ok((page, None));
    }
    let stored = endpoint.kept.store(draft).await.map_err(|error| Failure::new(error.to_string()))?;
    let seen = Observation::Present {
        path: source.path_of(number),
        digest: Some(stored.digest),
        size: stored.size,
        stamp: stored.digest.hex(),
    };
    Ok((page, Some(seen)))
}

/// Returns a header that is sent back with the next request for the page.
fn text(response: &Response, name: &HeaderName) -> Option<String> {
    let value = response.headers().get(name)?.to_str().ok()?;
    (value.len() <= 1_000).then(|| value.to_owned())
}

/// Stores the body of a response, piece by piece.
async fn body(endpoint: &Endpoint, mut response: Response) -> Result<Draft, Failure> {
    let most = endpoint.spec.max_body;
    let too_large = |size: &str| Failure::new(format!("the body has {size}, and `max_body` is {}", ByteSize(most)));
    if let Some(length) = response.content_length().filter(|length| *length > most) {
        return Err(too_large(&ByteSize(length).to_string()));
    }
    let local = |error: crate::resource::ResourceError| Failure::new(error.to_string());
    let mut draft = endpoint.kept.draft().map_err(local)?;
    while let Some(piece) = response.chunk().await.map_err(|error| endpoint.client.failed(error))? {
        if draft.size() + piece.len() as u64 > most {
            return Err(too_large("more"));
        }
        draft.write(&piece).await.map_err(local)?;
    }
    Ok(draft)
}

fn next_by_link(endpoint: &Endpoint, page: &Url, link: &str) -> Result<Address, Failure> {
    let next = on_same_server(page, link).ok_or_else(|| {
        Failure::new("the next page is on another server, which must not receive the headers of the requests")
    })?;
    Ok(Address::Url(endpoint.client.without_own_parameters(next).into()))
}

async fn next_by_cursor(draft: &Draft, field: &[String]) -> Result<Option<String>, Failure> {
    let (file, names) = (draft.path().to_owned(), field.to_owned());
    let value = blocking(move || value_in(&file, &names)).await.map_err(|error| {
        Failure::new(format!("`{}` cannot be read from the body, which is not JSON: {error}", field.join(".")))
    })?;
    match value {
        Some(value) if value.len() > bounds::MAX_PATH_BYTES => Err(Failure::new(format!(
            "`{}` in the body is longer than {} bytes",
            field.join("."),
            bounds::MAX_PATH_BYTES
        ))),
        value => Ok(value),
    }
}
