//! The settings of a bucket.

use std::time::Duration;

use super::secret::SecretSource;

/// A bucket of an S3-compatible service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Spec {
    /// The bucket.
    pub bucket: String,
    /// What its keys begin with: empty, or text that ends with `/`. Paths are relative to it.
    pub prefix: String,
    /// The URL of the service, without a `/` at its end; `None` is AWS.
    pub endpoint: Option<String>,
    /// The region, if the manifest gives one.
    pub region: Option<String>,
    /// Where a request names the bucket.
    pub style: S3Style,
    /// Where the credentials come from.
    pub credentials: S3Credentials,
    /// The profile, if `credentials` is `profile`; `None` is `AWS_PROFILE`, or `default`.
    pub profile: Option<String>,
    /// The source of the id of the access key.
    pub access_key_id: Option<SecretSource>,
    /// The source of the secret key. Present if and only if `access_key_id` is.
    pub secret_access_key: Option<SecretSource>,
    /// Globs of included paths; empty means all.
    pub include: Vec<String>,
    /// Globs of excluded paths.
    pub exclude: Vec<String>,
    /// How often it is listed.
    pub interval: Duration,
}

impl S3Spec {
    /// Describes the location for display: `s3://bucket/prefix`, with the service unless it is AWS.
    #[must_use]
    pub fn location(&self) -> String {
        let service = self.endpoint.as_deref().map(|url| format!(" at {url}")).unwrap_or_default();
        format!("s3://{}/{}{service}", self.bucket, self.prefix)
    }
}

/// Where a request names the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Style {
    /// In the path: `https://service/bucket/key`.
    Path,
    /// In the name of the host: `https://bucket.service/key`.
    Virtual,
}

/// Where the credentials of a bucket come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Credentials {
    /// The keys in the manifest, or the variables `AWS_…`, or the container or instance.
    Default,
    /// A profile in the files of the AWS command line.
    Profile,
    /// None: requests are not signed.
    None,
}
