//! Where OpenLineage events go: an endpoint, or a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use reqwest::{Client, Url, header};
use serde_json::Value;

use super::super::channel::{self, Refusal};
use super::super::secret::Secrets;
use crate::manifest::{LineageTarget, OpenLineageSpec};
use crate::model::Durability;

/// What every line of a file begins with, so that the rest of a line of ours is known.
const LINE_BEGINS: &[u8] = b"{\"eventTime\":";
/// The most bytes of such a rest that are looked at: more than any event has.
const LONGEST_REST: u64 = 64 << 20;

/// A receiver.
pub(super) struct Target {
    secrets: Secrets,
    /// The way to it, or why there is none.
    way: Result<Way, String>,
}

enum Way {
    Http { client: Client, url: Url, api_key: Option<String> },
    File { path: PathBuf, sync: bool },
}

impl Target {
    /// Prepares the way to a receiver. If a secret is missing or unusable, each delivery fails with
    /// the reason.
    pub(super) fn open(spec: &OpenLineageSpec, client: Result<Client, String>, durability: Durability) -> Self {
        let mut secrets = Secrets::default();
        let way = match &spec.target {
            LineageTarget::File { path } => Ok(Way::File { path: path.clone(), sync: durability == Durability::Full }),
            LineageTarget::Http { url, api_key } => channel::address(url, &mut secrets).and_then(|url| {
                let api_key = api_key.as_ref().map(|source| secrets.read(source)).transpose()?;
                Ok(Way::Http { client: client?, url, api_key })
            }),
        };
        Self { secrets, way }
    }

    /// Delivers an event.
    ///
    /// # Errors
    /// [`Refusal`] if the receiver did not take it, or it is not known whether it did.
    pub(super) async fn send(&self, event: &Value) -> Result<(), Refusal> {
        let mask = |why: &str| self.secrets.mask(why);
        let sent = match &self.way {
            Err(why) => Err(Refusal::Temporary(why.clone())),
            Ok(Way::Http { client, url, api_key }) => post(client, url, api_key.as_deref(), event).await,
            Ok(Way::File { path, sync }) => {
                let (path, sync, line) = (path.clone(), *sync, format!("{event}\n"));
                let added = tokio::task::spawn_blocking(move || add(&path, line.as_bytes(), sync)).await;
                added.map_err(io::Error::other).flatten().map_err(|error| Refusal::Temporary(error.to_string()))
            }
        };
        sent.map_err(|refusal| match refusal {
            Refusal::Temporary(why) => Refusal::Temporary(mask(&why)),
            Refusal::Permanent(why) => Refusal::Permanent(mask(&why)),
        })
    }
}

/// Sends an event to an endpoint. Only an answer about this very event is permanent: a wrong key or
/// address can be mended, and then nothing is lost.
async fn post(client: &Client, url: &Url, api_key: Option<&str>, event: &Value) -> Result<(), Refusal> {
    let mut request = client.post(url.clone()).header(header::CONTENT_TYPE, "application/json").body(event.to_string());
    if let Some(key) = api_key {
        request = request.bearer_auth(key);
    }
    let status = channel::status(request.send().await)?;
    let why = format!("the receiver answered {status}");
    match status.as_u16() {
        _ if status.is_success() => Ok(()),
        400 | 413 | 422 => Err(Refusal::Permanent(why)),
        _ => Err(Refusal::Temporary(why)),
    }
}

/// Adds a line to a file, whole or not at all. The file is opened each time, so that it can be
/// moved away.
fn add(path: &Path, line: &[u8], sync: bool) -> io::Result<()> {
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(at)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(at)?;
    let end = cut_rest(&mut file).map_err(at)?;
    if let Err(error) = file.write_all(line) {
        // What was written of it must not stand before the next try.
        let _ = file.set_len(end);
        return Err(at(error));
    }
    if sync { file.sync_data().map_err(at) } else { Ok(()) }
}

/// Removes the part of a line that a host was writing when it died. Returns the length of the file.
fn cut_rest(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut last = [0];
    if length > 0 {
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
    }
    if length == 0 || last == *b"\n" {
        return Ok(length);
    }
    let from = length.saturating_sub(LONGEST_REST);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let rest = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let begins = end.get(rest..).unwrap_or_default();
    if !begins.starts_with(LINE_BEGINS) && !LINE_BEGINS.starts_with(begins) {
        return Err(io::Error::other(
            "its last line has no end and is not one of lineage: end it, or name another file",
        ));
    }
    let whole = from + rest as u64;
    file.set_len(whole)?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::add;

    #[test]
    fn a_line_that_was_cut_off_is_removed_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/lineage.jsonl");
        add(&path, b"{\"eventTime\":1}\n", true).unwrap();
        for rest in ["{", "{\"eventTime\":2,\"ev"] {
            let whole = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, format!("{whole}{rest}")).unwrap();
            add(&path, b"{\"eventTime\":3}\n", false).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{whole}{{\"eventTime\":3}}\n"));
        }
        std::fs::write(&path, "a note\nof mine").unwrap();
        let refused = add(&path, b"{\"eventTime\":4}\n", false).unwrap_err().to_string();
        let why = "its last line has no end and is not one of lineage: end it, or name another file";
        assert_eq!(refused, format!("{}: {why}", path.display()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a note\nof mine");
        let below = path.join("below");
        assert!(add(&below, b"x\n", false).unwrap_err().to_string().starts_with(&below.display().to_string()));
    }
}
