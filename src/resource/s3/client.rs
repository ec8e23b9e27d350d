//! Sends requests to the service.
//!
//! `object_store` signs, retries and streams. It has no request for some things that this kind
//! needs, so this module sends these itself, to URLs that `object_store` signs: to list keys as
//! they are (its own listing fails at a key such as `a//b`), to begin an upload once (it would
//! repeat a request whose answer is lost, and leave an upload behind), to complete an upload on a
//! condition, and to list uploads.

use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{
    Attribute, BackoffConfig, ClientOptions, CopyOptions, GetOptions, GetRange, ObjectStore as _, RetryConfig,
};
use reqwest::header::{CONTENT_LENGTH, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, Response, StatusCode};

use super::connector::{Connector, Unconnected};
use super::{credentials, xml};
use crate::base::{ArtifactId, tls};
use crate::manifest::{S3Credentials, S3Spec, S3Style};

/// How long a request may take, with its answer.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How long a request may take that sends a part of an object, even over a slow line, or that makes
/// the service copy an object or join its parts.
const SENDING_TIMEOUT: Duration = Duration::from_mins(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a URL that is signed for one request is valid.
const VALIDITY: Duration = Duration::from_mins(15);
/// The largest answer to a request of this module: far more than a page of 1,000 keys has.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// The key of an object's metadata that names its artifact.
const ARTIFACT: &str = "anacostia-artifact";
/// The header with which a request sets [`ARTIFACT`].
const ARTIFACT_HEADER: &str = "x-amz-meta-anacostia-artifact";

/// The result of a request.
pub(super) type Answer<T> = std::result::Result<T, object_store::Error>;

/// What an object at a key must be for a request to replace it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// There is none.
    Absent,
    /// It has this entity tag.
    Matches(String),
}

/// The state of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// The entity tag, without quotes.
    pub(super) etag: String,
    /// The artifact that the object holds, if a host wrote it.
    pub(super) artifact: Option<String>,
}

/// A client for one bucket.
#[derive(Debug)]
pub(super) struct Client {
    /// Sends the requests that [`TIMEOUT`] is enough for.
    pub(super) store: AmazonS3,
    /// Sends the requests that take longer; see [`SENDING_TIMEOUT`].
    pub(super) sending: AmazonS3,
    http: reqwest::Client,
    /// Whether requests are signed.
    signed: bool,
}

impl Client {
    /// Creates the client. Sends nothing.
    ///
    /// # Errors
    /// A fragment that continues the sentence "… cannot be used: ".
    pub(super) fn new(spec: &S3Spec) -> Result<Self, String> {
        tls::use_ring();
        // Without trusted certificates, `object_store` creates no client, even for a service
        // without TLS.
        let no_certificates = !tls::trusts_any();
        let insecure = spec.endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
        let options = |timeout| {
            let options = ClientOptions::new().with_timeout(timeout).with_connect_timeout(CONNECT_TIMEOUT);
            options.with_allow_http(insecure).with_no_system_certificates(no_certificates)
        };
        // The resource reports a longer outage, and repeats whole operations after it.
        let retry = RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() },
            max_retries: 3,
            retry_timeout: Duration::from_secs(20),
        };
        let builder = credentials::builder(spec)
            .with_bucket_name(&spec.bucket)
            .with_virtual_hosted_style_request(spec.style == S3Style::Virtual)
            .with_client_options(options(TIMEOUT))
            .with_http_connector(Connector)
            .with_retry(retry);
        let builder = match (&spec.endpoint, spec.style) {
            (None, _) => builder,
            (Some(endpoint), S3Style::Path) => builder.with_endpoint(endpoint),
            (Some(endpoint), S3Style::Virtual) => {
                builder.with_endpoint(endpoint.replacen("://", &format!("://{}.", spec.bucket), 1))
            }
        };
        let builder = credentials::add(builder, spec)?;
        let sending = builder.clone().with_client_options(options(SENDING_TIMEOUT));
        let sending = sending.build().map_err(|error| error.to_string())?;
        let store = builder.build().map_err(|error| error.to_string())?;
        let http = tls::client().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT).build();
        let http = http.map_err(|error| format!("no HTTP client can be created: {error}"))?;
        Ok(Self { store, sending, http, signed: spec.credentials != S3Credentials::None })
    }

    /// Returns the state of the object at a key; `None` if there is none.
    pub(super) async fn head(&self, key: &Path) -> Answer<Option<Object>> {
        match self.store.get_opts(key, GetOptions { head: true, ..GetOptions::default() }).await {
            Ok(found) => {
                let artifact = found.attributes.get(&artifact_attribute()).map(|value| value.to_string());
                Ok(Some(Object { etag: unquoted(found.meta.e_tag.as_deref()), artifact }))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a range of the version with this entity tag.
    pub(super) async fn get(&self, key: &Path, etag: &str, range: std::ops::Range<u64>) -> Answer<bytes::Bytes> {
        let options =
            GetOptions { if_match: Some(quoted(etag)), range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        self.store.get_opts(key, options).await?.bytes().await
    }

    /// Copies an object within the bucket, on the service.
    pub(super) async fn copy(&self, from: &Path, to: &Path) -> Answer<()> {
        self.sending.copy_opts(from, to, CopyOptions::default()).await
    }

    /// Lists at most 1,000 objects whose keys begin with `prefix` and are after `after`, by key.
    pub(super) async fn list(&self, prefix: &str, after: &str) -> Answer<xml::Listing> {
        let query = [("list-type", "2"), ("prefix", prefix), ("start-after", after), ("max-keys", "1000")];
        let answer = self.send(Method::GET, &Path::ROOT, &query, None, String::new()).await?;
        let listing = xml::listing(&answer.1).map_err(generic)?;
        // A cache or proxy in between may repeat the answer to another request.
        if listing.start_after.as_deref().is_some_and(|echo| echo != after) || listing.prefix.as_deref() != Some(prefix)
        {
            return Err(generic("it returned the listing of another part of the bucket"));
        }
        Ok(listing)
    }

    /// Returns the ids of the unfinished uploads to a key.
    pub(super) async fn uploads(&self, key: &Path) -> Answer<Vec<String>> {
        let query = [("uploads", ""), ("prefix", key.as_ref())];
        let answer = self.send(Method::GET, &Path::ROOT, &query, None, String::new()).await?;
        xml::uploads(&answer.1, key.as_ref()).map_err(generic)
    }

    /// Begins an upload of an artifact, and returns its id. If this fails, the service may have
    /// begun an upload nevertheless.
    pub(super) async fn begin_upload(&self, key: &Path, artifact: ArtifactId) -> Answer<String> {
        let name = HeaderName::from_static(ARTIFACT_HEADER);
        let value = HeaderValue::from_str(&artifact.to_string()).map_err(generic)?;
        let answer = self.send(Method::POST, key, &[("uploads", "")], Some((name, value)), String::new()).await?;
        xml::begun(&answer.1).map_err(generic)
    }

    /// Completes an upload, if the object at the key meets the condition. Returns its entity tag.
    pub(super) async fn complete(
        &self,
        key: &Path,
        upload: &str,
        parts: &[String],
        condition: &Condition,
    ) -> Answer<String> {
        let header = condition_header(condition).map_err(generic)?;
        let body = xml::parts(parts);
        let answer = self.send(Method::POST, key, &[("uploadId", upload)], Some(header), body).await?;
        // The service may find a problem after it has begun to answer with 200.
        xml::completed(&answer.1).map_err(generic)
    }

    /// Sends a request, and returns the status and the body of a successful answer.
    async fn send(
        &self,
        method: Method,
        key: &Path,
        query: &[(&str, &str)],
        header: Option<(HeaderName, HeaderValue)>,
        body: String,
    ) -> Answer<(StatusCode, String)> {
        let mut options = SignedUrlOptions::default().with_query(query.iter().copied());
        if let Some((name, value)) = header.clone() {
            options = options.with_signed_header(name, value);
        }
        let mut url = self.store.signed_url_opts(method.clone(), key, VALIDITY, &options).await?;
        if !self.signed {
            url.query_pairs_mut().clear().extend_pairs(query);
        }
        // Some services require a length, which the client leaves out if there is no body.
        let timeout = if method == Method::POST { SENDING_TIMEOUT } else { TIMEOUT };
        let mut request = self.http.request(method, url).timeout(timeout);
        request = request.header(CONTENT_LENGTH, body.len()).body(body);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(not_sent)?;
        let status = response.status();
        let body = text(response).await?;
        if status.is_success() {
            return Ok((status, body));
        }
        Err(refusal(status, key, &body))
    }
}

/// Returns the attribute of an object that names its artifact.
fn artifact_attribute() -> Attribute {
    Attribute::Metadata(ARTIFACT.into())
}

/// Returns the attributes of the object that an artifact becomes.
pub(super) fn attributes(artifact: ArtifactId) -> object_store::Attributes {
    [(artifact_attribute(), artifact.to_string())].into_iter().collect()
}

/// Returns an entity tag without its quotes. Returns an empty one if the service sends none.
pub(super) fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn condition_header(condition: &Condition) -> Result<(HeaderName, HeaderValue), reqwest::header::InvalidHeaderValue> {
    match condition {
        Condition::Absent => Ok((IF_NONE_MATCH, HeaderValue::from_static("*"))),
        Condition::Matches(etag) => Ok((IF_MATCH, HeaderValue::from_str(&quoted(etag))?)),
    }
}

async fn text(mut response: Response) -> Answer<String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| generic(error.without_url()))? {
        if body.len().saturating_add(chunk.len()) > MAX_ANSWER_BYTES {
            return Err(generic("its answer is longer than 16 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| generic("its answer is not UTF-8"))
}

/// Returns the error of an answer that is not a success.
fn refusal(status: StatusCode, key: &Path, body: &str) -> object_store::Error {
    let path = key.to_string();
    let source = xml::error(body).unwrap_or_else(|| format!("the service answers {status}")).into();
    match status {
        StatusCode::NOT_FOUND => object_store::Error::NotFound { path, source },
        // 409: another request for the same key was faster.
        StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => object_store::Error::Precondition { path, source },
        StatusCode::FORBIDDEN => object_store::Error::PermissionDenied { path, source },
        StatusCode::UNAUTHORIZED => object_store::Error::Unauthenticated { path, source },
        _ => generic(source),
    }
}

/// Converts the error of a request. The URL has a signature in it, which is as good as a password
/// for some minutes.
fn not_sent(error: reqwest::Error) -> object_store::Error {
    match error.url().filter(|_| error.is_connect()) {
        Some(url) => generic(Unconnected::new(&error, url.as_str())),
        None => generic(error.without_url()),
    }
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: source.into() }
}
