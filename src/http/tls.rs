//! TLS with the certificate that the manifest names.
//!
//! Whoever renews the certificate replaces its files. A new connection looks at them, at most once
//! a second, and if they have changed, it and later ones use what is in them now. If that is no
//! certificate with its key, because only one of the files has been replaced so far, the old one
//! stays in use, and the log says so.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, crypto::ring};

use crate::manifest::TlsSpec;

/// How often the files are looked at.
const LOOK_EACH: Duration = Duration::from_secs(1);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has no such thing in it.
    #[error("failed to read the {what} of `[server] tls` in {}: {why}", file.display())]
    Unreadable {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        file: std::path::PathBuf,
        /// The reason.
        why: String,
    },
    /// The files do not fit.
    #[error("the certificate in {} cannot be used with the key in {}: {why}", spec.cert.display(), spec.key.display())]
    Unusable {
        /// The files.
        spec: TlsSpec,
        /// The reason.
        why: rustls::Error,
    },
}

/// The certificate of a server, as it is in its files.
#[derive(Debug)]
pub struct Tls {
    spec: TlsSpec,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// How the files looked when they were read last.
    seen: Option<Stamp>,
    looked_at: Instant,
}

/// What changes when a file is replaced or written: for each, device, number, size and time.
type Stamp = [(u64, u64, u64, i64, i64); 2];

impl Tls {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// Returns an error if one of the files cannot be read, or they do not fit.
    pub fn open(spec: TlsSpec) -> Result<Self, TlsError> {
        let (seen, config) = (stamp(&spec), Arc::new(read(&spec)?));
        Ok(Self { spec, current: Mutex::new(Current { config, seen, looked_at: Instant::now() }) })
    }

    /// Returns what answers a new connection.
    pub(super) async fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        let due = {
            let mut current = self.current();
            let due = current.looked_at.elapsed() >= LOOK_EACH;
            if due {
                current.looked_at = Instant::now();
            }
            due
        };
        if due {
            let tls = Arc::clone(self);
            // It fails only if the program ends.
            let _ = tokio::task::spawn_blocking(move || tls.look()).await;
        }
        TlsAcceptor::from(Arc::clone(&self.current().config))
    }

    /// Reads the files again if they have changed.
    fn look(&self) {
        let seen = stamp(&self.spec);
        if seen.is_none() || seen == self.current().seen {
            return;
        }
        let read = read(&self.spec);
        let mut current = self.current();
        current.seen = seen;
        match read {
            Ok(config) => {
                current.config = Arc::new(config);
                tracing::info!("TLS uses the new certificate in {}", self.spec.cert.display());
            }
            Err(error) => tracing::warn!("TLS goes on with the certificate that it had: {error}"),
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how the files look; `None` if one is not there, as in the moment in which it is
/// replaced.
fn stamp(spec: &TlsSpec) -> Option<Stamp> {
    let of = |file: &Path| -> io::Result<_> {
        let it: Metadata = fs::metadata(file)?;
        Ok((it.dev(), it.ino(), it.size(), it.mtime(), it.mtime_nsec()))
    };
    Some([of(&spec.cert).ok()?, of(&spec.key).ok()?])
}

fn read(spec: &TlsSpec) -> Result<ServerConfig, TlsError> {
    let unreadable = |what, file: &Path| {
        let file = file.to_owned();
        move |why: pem::Error| TlsError::Unreadable { what, file, why: said(&why) }
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&spec.cert).and_then(Iterator::collect);
    let certificates = certificates.map_err(unreadable("certificate", &spec.cert))?;
    if certificates.is_empty() {
        return Err(unreadable("certificate", &spec.cert)(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_file(&spec.key).map_err(unreadable("key", &spec.key))?;
    let unusable = |why| TlsError::Unusable { spec: spec.clone(), why };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn said(why: &pem::Error) -> String {
    match why {
        pem::Error::NoItemsFound => "there is none in it, in the form of PEM".to_owned(),
        pem::Error::Io(why) => why.to_string(),
        why => why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::{Tls, TlsError, stamp};
    use crate::manifest::TlsSpec;

    /// Returns a new certificate and its key, as PEM.
    fn made() -> [String; 2] {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        [made.cert.pem(), made.signing_key.serialize_pem()]
    }

    #[test]
    fn files_that_are_no_certificate_with_its_key_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let spec = TlsSpec { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let refused = || Tls::open(spec.clone()).unwrap_err().to_string();
        let (cert, key) = (spec.cert.display().to_string(), spec.key.display().to_string());
        let missing = "No such file or directory (os error 2)";
        assert_eq!(refused(), format!("failed to read the certificate of `[server] tls` in {cert}: {missing}"));
        let [one, its_key] = made();
        fs::write(&spec.cert, &its_key).unwrap();
        let none = "there is none in it, in the form of PEM";
        assert_eq!(refused(), format!("failed to read the certificate of `[server] tls` in {cert}: {none}"));
        fs::write(&spec.cert, &one).unwrap();
        assert_eq!(refused(), format!("failed to read the key of `[server] tls` in {key}: {missing}"));
        fs::write(&spec.key, &made()[1]).unwrap();
        assert!(matches!(Tls::open(spec.clone()), Err(TlsError::Unusable { .. })), "the key of another");
        let said = refused();
        assert!(
            said.starts_with(&format!("the certificate in {cert} cannot be used with the key in {key}: ")),
            "{said}"
        );
        fs::write(&spec.key, &its_key).unwrap();
        assert!(Tls::open(spec).is_ok());
    }

    #[test]
    fn new_files_are_used_once_they_fit() {
        let folder = tempfile::tempdir().unwrap();
        let spec = TlsSpec { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let put = |file: &std::path::Path, text: &str| {
            fs::write(folder.path().join("new"), text).unwrap();
            fs::rename(folder.path().join("new"), file).unwrap();
        };
        let ([one, its_key], [other, other_key]) = (made(), made());
        put(&spec.cert, &one);
        put(&spec.key, &its_key);
        let tls = Tls::open(spec.clone()).unwrap();
        let first = Arc::clone(&tls.current().config);
        let looked = || {
            tls.look();
            Arc::clone(&tls.current().config)
        };
        assert!(Arc::ptr_eq(&looked(), &first), "nothing has changed");
        put(&spec.cert, &other);
        assert!(Arc::ptr_eq(&looked(), &first), "the key is still the old one");
        assert_eq!(tls.current().seen, stamp(&spec), "the log says it once");
        put(&spec.key, &other_key);
        let second = looked();
        assert!(!Arc::ptr_eq(&second, &first));
        fs::remove_file(&spec.key).unwrap();
        assert!(Arc::ptr_eq(&looked(), &second), "it is being replaced");
        put(&spec.key, "nonsense");
        assert!(Arc::ptr_eq(&looked(), &second));
    }
}
