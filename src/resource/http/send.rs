//! Sends outputs, after the commit point.
//!
//! A request carries the id of the artifact as `Idempotency-Key`, which is the same in every try,
//! even after a restart. A server that knows the key does the work once. Any other server may get
//! an output twice, if the host dies or the answer is lost after the server has taken the output.
//!
//! A server that answers with a status that no repetition changes (such as 400, 403 or 413) has
//! refused the output. A host that tried again would try forever, and the run would keep its slot.
//! So the refusal is noted beside the staged file, and the attempt fails with the answer of the
//! server. Its output is on record as not taken, and a retry of the run makes it again. So is an
//! output that is given up because its run was cancelled before the server took it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _};
use std::path::Path;
use std::time::Duration;

use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, RequestBuilder, StatusCode, Url};
use tokio::sync::watch;

use super::Endpoint;
use super::client::{Failure, back_off, display, refused};
use crate::base::{AttemptId, fault};
use crate::manifest::{HttpForm, HttpMethod};
use crate::model::StagedFile;
use crate::resource::kept::blocking;
use crate::resource::{NotTaken, Outages, ResourceError, Result, noted};

/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a failure, unless the server asks for more.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// How much of a file is read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// The answer of a server to an output.
enum Answer {
    Taken,
    /// It never takes the output, for this reason.
    Never(String),
    /// It did not take the output before that was given up.
    GivenUp,
}

/// Why an output was given up, for people, and the note of that.
const GIVEN_UP: &str = "the run was cancelled before the server took it";

/// Sends files; see [`crate::resource::Resource::publish`]. Returns once the server has answered
/// for each of them, however long that takes.
pub(super) async fn publish(
    endpoint: &Endpoint,
    attempt: AttemptId,
    files: &[StagedFile],
) -> Result<Vec<Option<String>>> {
    let outage = Waiting { outages: &endpoint.outages, attempt };
    let mut refused = Vec::new();
    for (place, file) in files.iter().enumerate() {
        let staged = endpoint.spool.path().join(&file.staged);
        let answer = match note(&staged).await.map_err(|error| unavailable(endpoint, file, &error))? {
            Some(answer) => answer,
            None => deliver(endpoint, &outage, file, &staged).await?,
        };
        let (why, given_up) = match answer {
            Answer::Taken => continue,
            Answer::Never(why) => (why, false),
            Answer::GivenUp => (GIVEN_UP.to_owned(), true),
        };
        refused.push(NotTaken { place, path: file.path.clone(), why, given_up });
    }
    if refused.is_empty() {
        return Ok(vec![None; files.len()]);
    }
    Err(ResourceError::Refused { resource: endpoint.name.to_string(), files: refused })
}

/// Notes what an attempt waits for, until this is dropped.
struct Waiting<'a> {
    outages: &'a Outages,
    attempt: AttemptId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.outages.over(self.attempt);
    }
}

/// Sends one file until the server has answered, and notes the answer. Keeps the content before
/// sending it, so that afterwards only writing the note can fail, and only that is tried again.
async fn deliver(endpoint: &Endpoint, outage: &Waiting<'_>, file: &StagedFile, staged: &Path) -> Result<Answer> {
    endpoint.kept.link(staged.to_owned(), file.digest).await?;
    let mut failures = 0;
    let mut given_up = endpoint.given_up.subscribe();
    let is_given_up = |attempts: &BTreeSet<AttemptId>| attempts.contains(&outage.attempt);
    let answer = loop {
        if is_given_up(&given_up.borrow_and_update()) {
            break Answer::GivenUp;
        }
        fault::point("http.before_send");
        let failure = match send(endpoint, file, staged).await {
            Ok(answer) => break answer,
            Err(Stopped::Spool(error)) => return Err(unavailable(endpoint, file, &error)),
            Err(Stopped::Server(failure)) => failure,
        };
        failures += 1;
        outage.outages.failed(outage.attempt, &endpoint.name, &format!("`{}`: {}", file.path, failure.reason));
        let wait = back_off(failures, FIRST_WAIT, LONGEST_WAIT, failure.retry_after);
        tracing::warn!(
            resource = &*endpoint.name,
            path = file.path,
            "an output was not taken: {}; it is sent again in {:.1} s",
            failure.reason,
            wait.as_secs_f64()
        );
        // A request under way gets its answer first: the server may have taken the output.
        let _ = tokio::time::timeout(wait, given_up.wait_for(is_given_up)).await;
    };
    fault::point("http.sent");
    outage.outages.over(outage.attempt);
    failures = 0;
    while let Err(error) = set_note(staged, &answer).await {
        failures += 1;
        let wait = back_off(failures, FIRST_WAIT, LONGEST_WAIT, None);
        tracing::error!(
            resource = &*endpoint.name,
            path = file.path,
            "the server's answer cannot be written to {}: {error}; trying again in {:.1} s",
            endpoint.spool.path().display(),
            wait.as_secs_f64()
        );
        tokio::time::sleep(wait).await;
    }
    fault::point("http.marked");
    Ok(answer)
}

/// Why a try has ended without an answer that counts.
enum Stopped {
    Spool(io::Error),
    Server(Failure),
}

async fn send(endpoint: &Endpoint, file: &StagedFile, staged: &Path) -> std::result::Result<Answer, Stopped> {
    let staged = staged.to_owned();
    let open = blocking(move || File::open(staged)).await.map_err(Stopped::Spool)?;
    let (taken, progress) = watch::channel(());
    let request = request(endpoint, file, open, taken).map_err(Stopped::Server)?;
    let response = endpoint.client.send_body(request, progress).await.map_err(Stopped::Server)?;
    let status = response.status();
    if status.is_success() {
        return Ok(Answer::Taken);
    }
    if is_final(status) {
        return Ok(Answer::Never(format!("the server answers {}", display(status))));
    }
    Err(Stopped::Server(refused(&response)))
}

/// Returns whether repeating the request cannot change the answer.
fn is_final(status: StatusCode) -> bool {
    let passes = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::CONFLICT,
        StatusCode::LOCKED,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    (status.is_redirection() || status.is_client_error()) && !passes.contains(&status)
}

fn request(
    endpoint: &Endpoint,
    file: &StagedFile,
    open: File,
    taken: watch::Sender<()>,
) -> std::result::Result<RequestBuilder, Failure> {
    let HttpForm::Send { url, method } = &endpoint.spec.form else {
        return Err(Failure::new("it takes no outputs"));
    };
    let mut url = Url::parse(url).map_err(|error| Failure::new(format!("`url` is not a valid URL: {error}")))?;
    let method = match method {
        HttpMethod::Put => {
            let mut segments =
                url.path_segments_mut().map_err(|()| Failure::new("`url` has no path that could be extended"))?;
            segments.pop_if_empty().extend(file.path.split('/'));
            Method::PUT
        }
        HttpMethod::Post => Method::POST,
    };
    let mut request = endpoint.client.request(method, &url)?;
    if !endpoint.spec.headers.contains_key(CONTENT_TYPE.as_str()) {
        request = request.header(CONTENT_TYPE, "application/octet-stream");
    }
    Ok(request
        .header("idempotency-key", file.artifact_id.to_string())
        .header("anacostia-path", encoded(&file.path))
        .header("content-digest", file.digest.to_content_digest())
        .header(CONTENT_LENGTH, file.size)
        .body(Body::wrap_stream(pieces(open, file.size, taken))))
}

/// Encodes a path for a header, because it may contain any character.
fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Reads a file piece by piece, as the connection takes it; tells `taken` about each.
fn pieces(
    file: File,
    size: u64,
    taken: watch::Sender<()>,
) -> impl futures_util::Stream<Item = io::Result<Vec<u8>>> + Send {
    stream::try_unfold((file, 0, taken), move |(mut file, at, taken)| async move {
        taken.send_replace(());
        if at >= size {
            return Ok(None);
        }
        let read = blocking(move || {
            file.seek(io::SeekFrom::Start(at))?;
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            (&mut file).take((size - at).min(PIECE_BYTES as u64)).read_to_end(&mut piece)?;
            Ok((file, piece))
        });
        let (file, piece) = read.await?;
        if piece.is_empty() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the staged file is shorter than it was"));
        }
        let next = at + piece.len() as u64;
        Ok(Some((piece, (file, next, taken))))
    })
}

/// Returns the answer that an earlier try has noted. An empty note says that the server has taken
/// the output; any other note says why it has not.
async fn note(staged: &Path) -> io::Result<Option<Answer>> {
    Ok(noted::read(staged).await?.map(|text| match text.as_str() {
        "" => Answer::Taken,
        GIVEN_UP => Answer::GivenUp,
        _ => Answer::Never(text),
    }))
}

async fn set_note(staged: &Path, answer: &Answer) -> io::Result<()> {
    let text = match answer {
        Answer::Taken => String::new(),
        Answer::Never(why) => why.clone(),
        Answer::GivenUp => GIVEN_UP.to_owned(),
    };
    noted::write(staged, text).await
}

fn unavailable(endpoint: &Endpoint, file: &StagedFile, error: &io::Error) -> ResourceError {
    ResourceError::Unavailable {
        resource: endpoint.name.to_string(),
        doing: format!("send `{}`, which is staged in {}", file.path, endpoint.spool.path().display()),
        why: error.to_string(),
    }
}
