//! The keys of `[server]`.

use std::sync::LazyLock;

use super::section::{Keys, object};
use crate::manifest::schema::{BASE_PATH, DIGEST, boolean, form, strings, text, with_default};
use crate::manifest::settings;

pub(in crate::manifest) static SERVER: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "[server]",
    later: &[],
    rows: vec![
        (
            "listen",
            &["host", "port", "bind", "address", "addr"],
            with_default(
                text("The address for HTTP: an IP address or `localhost`, and a port. Off loopback a token is needed."),
                settings::DEFAULT_LISTEN,
            ),
        ),
        (
            "hosts",
            &["allowed_hosts", "server_name"],
            strings(
                "Names by which the server is reached besides its address, such as that of a proxy in front: for any port, or with one.",
                None,
                "ml.example.com",
            ),
        ),
        (
            "public_url",
            &["external_url", "base_url"],
            text(
                "The URL by which people reach the server, for links in notifications. If not given: the address that it listens on.",
            ),
        ),
        (
            "base_path",
            &["prefix", "root_path", "sub_path"],
            form(
                "The path below which people reach the server, if a proxy in front has other servers too.",
                BASE_PATH,
                "/anacostia",
            ),
        ),
        (
            "tls",
            &["https", "ssl", "certificate"],
            object("The files of a certificate, with which the server speaks TLS.", &TLS, &["cert", "key"]),
        ),
        ("insecure", &[], boolean("Whether plain HTTP off loopback is allowed, for a proxy in front that speaks TLS.")),
        (
            "token_sha256",
            &["token"],
            form(
                "The digest of the bearer token that is asked for: `sha256:` and the output of `printf %s \"$TOKEN\" | sha256sum`.",
                DIGEST,
                "sha256:${TOKEN_SHA256}",
            ),
        ),
    ],
});

pub(in crate::manifest) static TLS: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "`tls` of [server]",
    later: &[],
    rows: vec![
        ("cert", &["certificate", "cert_file"], text("The file of the certificate and those above it, as PEM.")),
        ("key", &["private_key", "key_file"], text("The file of its key, as PEM.")),
    ],
});
