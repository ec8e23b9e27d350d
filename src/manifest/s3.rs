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

    /// Returns the service in one spelling, to compare it: its host, with the port unless it is the
    /// usual one. All hosts of AWS are one service, because the name of a bucket is unique there.
    pub(super) fn service(&self) -> String {
        const AWS: &str = "amazonaws.com";
        let Some(endpoint) = &self.endpoint else { return AWS.to_owned() };
        let Ok(url) = reqwest::Url::parse(endpoint) else { return endpoint.to_lowercase() };
        let host = url.host_str().unwrap_or_default();
        let host = if host == "localhost" { "127.0.0.1" } else { host.trim_end_matches('.') };
        let is_aws = [".amazonaws.com", ".amazonaws.com.cn"].iter().any(|end| host.ends_with(end));
        match url.port() {
            _ if is_aws && host.starts_with("s3") => AWS.to_owned(),
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{S3Credentials, S3Spec, S3Style};

    fn service(endpoint: Option<&str>) -> String {
        let spec = S3Spec {
            bucket: "b".to_owned(),
            prefix: String::new(),
            endpoint: endpoint.map(str::to_owned),
            region: None,
            style: S3Style::Path,
            credentials: S3Credentials::None,
            profile: None,
            access_key_id: None,
            secret_access_key: None,
            include: Vec::new(),
            exclude: Vec::new(),
            interval: Duration::from_secs(1),
        };
        spec.service()
    }

    #[test]
    fn a_service_that_is_spelled_in_another_way_is_the_same() {
        let same = |one: &str, other: &str| service(Some(one)) == service(Some(other));
        assert!(same("http://S3.Example.com:80", "https://s3.example.com:443"));
        assert!(same("http://localhost:9000", "http://127.0.0.1:9000"));
        assert!(!same("http://127.0.0.1:9000", "http://127.0.0.1:9001"));
        assert!(!same("https://s3.example.com", "https://s3.example.org"));
        for aws in ["https://s3.amazonaws.com", "https://s3.eu-central-1.amazonaws.com"] {
            assert_eq!(service(Some(aws)), service(None), "{aws}");
        }
    }
}
