//! Where the value of a secret is.

/// The source of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a variable of the host's environment, `env:NAME`.
    Env(String),
}

/// A URL, or the secret that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlSource {
    /// As written in the manifest.
    Plain(String),
    /// In a secret.
    Secret(SecretSource),
}
