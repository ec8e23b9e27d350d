//! Finds the credentials of a bucket: keys of the manifest, a profile, or what the library finds.

use std::path::PathBuf;

use ini::Ini;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use crate::manifest::{S3Credentials, S3Spec, SecretSource};

/// Returns a builder with the settings of the environment (`AWS_…`). Leaves out the keys of the
/// environment if `spec` says where its keys come from: a session token belongs only to the keys
/// that it is set with.
pub(super) fn builder(spec: &S3Spec) -> AmazonS3Builder {
    use AmazonS3ConfigKey::{AccessKeyId, SecretAccessKey, Token};
    if spec.credentials == S3Credentials::Default && spec.access_key_id.is_none() {
        return AmazonS3Builder::from_env();
    }
    let settings = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.to_str().filter(|name| name.starts_with("AWS_"))?;
        let key = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().ok()?;
        Some((key, value.into_string().ok()?))
    });
    let others = settings.filter(|(key, _)| !matches!(key, AccessKeyId | SecretAccessKey | Token));
    others.fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value))
}

/// Adds the region and the credentials of `spec` to `builder`.
///
/// # Errors
/// A fragment that continues the sentence "… cannot be used: ".
pub(super) fn add(builder: AmazonS3Builder, spec: &S3Spec) -> Result<AmazonS3Builder, String> {
    let profile = match spec.credentials {
        S3Credentials::Profile => Some(Profile::read(spec.profile.as_deref())?),
        S3Credentials::Default | S3Credentials::None => None,
    };
    let region = spec.region.clone().or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
    let region = region.or_else(|| profile.as_ref().and_then(|profile| profile.region.clone()));
    let builder = builder.with_region(region.unwrap_or_else(|| "us-east-1".to_owned()));
    if spec.credentials == S3Credentials::None {
        // Without keys, `object_store` would ask the metadata service of the machine for some.
        return Ok(builder.with_skip_signature(true).with_access_key_id("none").with_secret_access_key("none"));
    }
    if let Some(profile) = profile {
        let builder = builder.with_access_key_id(profile.key_id).with_secret_access_key(profile.secret);
        return Ok(match profile.token {
            Some(token) => builder.with_token(token),
            None => builder,
        });
    }
    match (&spec.access_key_id, &spec.secret_access_key) {
        (Some(id), Some(secret)) => Ok(builder.with_access_key_id(value(id)?).with_secret_access_key(value(secret)?)),
        _ => Ok(builder),
    }
}

fn value(source: &SecretSource) -> Result<String, String> {
    let SecretSource::Env(name) = source;
    variable(name).ok_or_else(|| format!("the environment variable {name}, which holds one of its keys, is not set"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A profile of the AWS command line.
struct Profile {
    key_id: String,
    secret: String,
    token: Option<String>,
    region: Option<String>,
}

impl Profile {
    /// Reads a profile; `None` is `AWS_PROFILE`, or `default`. The files and their sections are
    /// those of <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>.
    fn read(name: Option<&str>) -> Result<Self, String> {
        let name = name.map(str::to_owned).or_else(|| variable("AWS_PROFILE")).unwrap_or_else(|| "default".to_owned());
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
        let config = file("AWS_CONFIG_FILE", "config")?;
        let section = if name == "default" { name.clone() } else { format!("profile {name}") };
        let find = |key: &str| {
            let in_credentials = credentials.as_ref().and_then(|file| file.get_from(Some(name.as_str()), key));
            let in_config = || config.as_ref().and_then(|file| file.get_from(Some(section.as_str()), key));
            in_credentials.or_else(in_config).map(str::to_owned)
        };
        let first = |keys: &[&'static str]| keys.iter().copied().find(|key| find(key).is_some());
        // A profile with one of these settings gets its credentials from there, not from keys
        // beside it.
        if let Some(key) = first(&["role_arn", "sso_session", "sso_start_url"]) {
            return Err(unsupported(&name, key));
        }
        match (find("aws_access_key_id"), find("aws_secret_access_key"), first(&["credential_process"])) {
            (Some(key_id), Some(secret), _) => {
                Ok(Self { key_id, secret, token: find("aws_session_token"), region: find("region") })
            }
            (_, _, Some(key)) => Err(unsupported(&name, key)),
            _ => Err(format!(
                "the profile `{name}` has no `aws_access_key_id` and `aws_secret_access_key` in ~/.aws/credentials or \
                 ~/.aws/config"
            )),
        }
    }
}

/// Returns the error of a profile whose setting `key` gets the credentials from elsewhere.
fn unsupported(profile: &str, key: &str) -> String {
    format!(
        "the profile `{profile}` has `{key}`, and only profiles with `aws_access_key_id` and `aws_secret_access_key` are \
         supported: remove `credentials` and `profile` from the manifest, and start the host with the variables that \
         `aws configure export-credentials --profile {profile} --format env` prints"
    )
}

/// Reads a file of the AWS command line, whose path is in a variable of the environment. `None` if
/// it does not exist.
fn file(name: &str, default: &str) -> Result<Option<Ini>, String> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".aws").join(default));
    let Some(path) = variable(name).map(PathBuf::from).or_else(home) else { return Ok(None) };
    match Ini::load_from_file(&path) {
        Ok(file) => Ok(Some(file)),
        Err(ini::Error::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // The error of a line that cannot be parsed may quote it, and it may be a key.
        Err(ini::Error::Parse(error)) => Err(format!("line {} of {} cannot be read", error.line, path.display())),
        Err(ini::Error::Io(error)) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}
