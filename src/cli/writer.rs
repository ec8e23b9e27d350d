//! The threads that write to standard output and standard error.
//!
//! A stream blocks for as long as its reader likes (`| less`, Ctrl-S), and it can fail (a full
//! disk, a reader that has gone). Neither may affect a thread that works for a pipeline. So it
//! hands its text to a thread that only writes, through a queue of at most [`QUEUE_BYTES`]. Text
//! that finds no room is dropped and counted, and the count is written once there is room.
//!
//! Verbs that print one answer and end wait until their text is written, and are told if it could
//! not be.
//!
//! Two streams that lead to terminals share one thread, which also draws the progress line:
//! otherwise the line and the text around it would overwrite each other. Rejected:
//! `tracing-appender`, which serves the log alone, does not report what it dropped, and ends its
//! thread at the first write that fails.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::base::fault;

/// Most bytes that wait to be written to a stream.
const QUEUE_BYTES: u32 = 1 << 20;
/// How often the progress line is drawn.
const TICK: Duration = Duration::from_millis(100);
/// How soon a stream that takes nothing at the moment (`O_NONBLOCK`) is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(10);
/// Takes the progress line off the screen.
const ERASE: &str = "\r\u{1b}[2K";
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a host writes. Set once, when the process becomes a host.
#[derive(Debug, Clone, Copy)]
struct Hosting {
    /// Standard output is for programs.
    json: bool,
}

static HOSTING: OnceLock<Hosting> = OnceLock::new();

/// From now on no caller waits for a stream. With `json`, a count of dropped lines on standard
/// output is a JSON line.
pub(super) fn never_wait(json: bool) {
    let _ = HOSTING.set(Hosting { json });
}

/// A progress line.
#[derive(Debug)]
pub(super) struct Moving {
    /// What is being done. Fits a line.
    pub(super) what: String,
    /// The latest message of the work, cut to what fits.
    pub(super) says: String,
    pub(super) began: Instant,
}

/// Hands text to the thread of a stream. The caller has removed colours if the stream does not take
/// them.
///
/// # Errors
/// When the text could not be written. Never in a host, which does not wait for the result.
pub(super) fn write(stream: Stream, bytes: Vec<u8>) -> io::Result<()> {
    let Some(writer) = writer(stream) else { return directly(stream, &bytes) };
    if HOSTING.get().is_none() {
        return writer.write_and_wait(stream, bytes);
    }
    writer.write_or_drop(stream, bytes);
    Ok(())
}

/// Hands text to the thread of a stream once the queue has room for it; for tasks that can wait.
/// Safe to drop: nothing is written then.
///
/// # Errors
/// When the reader of the stream is gone.
pub(super) async fn write_when_there_is_room(stream: Stream, bytes: Vec<u8>) -> io::Result<()> {
    let Some(writer) = writer(stream) else { return directly(stream, &bytes) };
    let room = Arc::clone(&writer.room).acquire_many_owned(size(&bytes)).await;
    if writer.is_closed.load(Ordering::Relaxed) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    if let Ok(room) = room {
        writer.send(stream, bytes, Some(room), None);
    }
    Ok(())
}

/// Counts lines that were never offered to a stream as dropped.
pub(super) fn count_lost(stream: Stream, lines: u64) {
    if let Some(writer) = writer(stream) {
        writer.lost.fetch_add(lines, Ordering::Relaxed);
    }
}

/// Returns how many bytes of a stream were written so far. The number does not grow while the
/// reader reads nothing.
pub(super) fn written(stream: Stream) -> u64 {
    writer(stream).map_or(0, |writer| writer.written.load(Ordering::Relaxed))
}

/// Shows this progress line on standard error, which is a terminal; `None` takes it away.
pub(super) fn show_moving(line: Option<Moving>) {
    if let Some(writer) = writer(Stream::Err) {
        *writer.moving() = line;
        // Wakes the thread.
        writer.send(Stream::Err, Vec::new(), None, None);
    }
}

/// Changes the message of the progress line, if there is one.
pub(super) fn moving_says(text: String) {
    if let Some(writer) = writer(Stream::Err)
        && let Some(line) = writer.moving().as_mut()
    {
        line.says = text;
    }
}

/// Waits until everything is written, but gives up on a stream that has taken nothing for
/// `patience`.
pub(super) fn finish(patience: Duration) {
    let Some(Some(writers)) = WRITERS.get() else { return };
    let ends = [(&writers.out, Stream::Out), (&writers.err, Stream::Err)].map(|(writer, stream)| {
        let (sender, end) = mpsc::sync_channel(1);
        writer.send(stream, Vec::new(), None, Some(sender));
        (writer, end)
    });
    for (writer, end) in ends {
        let mut before = writer.written.load(Ordering::Relaxed);
        while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(patience) {
            let now = writer.written.load(Ordering::Relaxed);
            if now == before {
                break;
            }
            before = now;
        }
    }
}

struct Writers {
    out: Arc<Writer>,
    err: Arc<Writer>,
}

/// Holds `None` if no thread could be started.
static WRITERS: OnceLock<Option<Writers>> = OnceLock::new();

fn writer(stream: Stream) -> Option<&'static Arc<Writer>> {
    let writers = WRITERS.get_or_init(|| {
        let start = |name| Writer::start(name, copy(io::stdout()).ok()?, copy(io::stderr()).ok()?).ok();
        let err = start("stderr")?;
        let one_screen = io::stdout().is_terminal() && io::stderr().is_terminal();
        let out = if one_screen { Arc::clone(&err) } else { start("stdout")? };
        Some(Writers { out, err })
    });
    writers.as_ref().map(|writers| if stream == Stream::Out { &writers.out } else { &writers.err })
}

/// Duplicates the stream without the standard library's buffer, which would keep text that could
/// not be written.
fn copy(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

fn directly(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Out => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        Stream::Err => io::stderr().write_all(bytes),
    }
}

/// How much of the queue a text takes, at most the whole queue.
fn size(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(QUEUE_BYTES).min(QUEUE_BYTES)
}

fn lines(bytes: &[u8]) -> u64 {
    // The number of line ends is one less than the number of pieces.
    let ends = bytes.split(|byte| *byte == b'\n').count() - 1;
    u64::try_from(ends).unwrap_or(u64::MAX).max(1)
}

/// The sending side of a thread's queue.
#[derive(Debug)]
struct Writer {
    queue: Sender<Message>,
    /// Bytes for which the queue has room. This bounds the queue.
    room: Arc<Semaphore>,
    /// Lines that were dropped since the last message went into the queue.
    lost: AtomicU64,
    /// Bytes that were written so far.
    written: AtomicU64,
    /// The reader of one of its streams has gone.
    is_closed: AtomicBool,
    moving: Mutex<Option<Moving>>,
}

/// A message to the thread.
struct Message {
    stream: Stream,
    bytes: Vec<u8>,
    /// Lines that were dropped before this one.
    lost: u64,
    /// Receives the result of writing it.
    done: Option<SyncSender<io::Result<()>>>,
    /// Released when the text is written.
    _room: Option<OwnedSemaphorePermit>,
}

impl Writer {
    fn start(name: &str, out: File, err: File) -> io::Result<Arc<Self>> {
        let (queue, messages) = mpsc::channel();
        let writer = Arc::new(Self {
            queue,
            room: Arc::new(Semaphore::new(QUEUE_BYTES as usize)),
            lost: AtomicU64::new(0),
            written: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            moving: Mutex::new(None),
        });
        let thread =
            Thread { writer: Arc::clone(&writer), out: Sink::new(out), err: Sink::new(err), frame: 0, is_drawn: false };
        std::thread::Builder::new().name(format!("anacostia-{name}")).spawn(move || thread.work(&messages))?;
        Ok(writer)
    }

    fn moving(&self) -> std::sync::MutexGuard<'_, Option<Moving>> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(
        &self,
        stream: Stream,
        bytes: Vec<u8>,
        room: Option<OwnedSemaphorePermit>,
        done: Option<SyncSender<io::Result<()>>>,
    ) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        // The thread ends only with the process, so the receiver is always there.
        let _ = self.queue.send(Message { stream, bytes, lost, done, _room: room });
    }

    fn write_or_drop(&self, stream: Stream, bytes: Vec<u8>) {
        match Arc::clone(&self.room).try_acquire_many_owned(size(&bytes)) {
            Ok(room) => self.send(stream, bytes, Some(room), None),
            Err(_) => {
                self.lost.fetch_add(lines(&bytes), Ordering::Relaxed);
            }
        }
    }

    fn write_and_wait(&self, stream: Stream, bytes: Vec<u8>) -> io::Result<()> {
        let (sender, done) = mpsc::sync_channel(1);
        self.send(stream, bytes, None, Some(sender));
        done.recv().unwrap_or_else(|_| Err(io::Error::other("the text was lost by a bug in Anacostia")))
    }
}

/// The receiving side: the state of the thread.
struct Thread {
    writer: Arc<Writer>,
    out: Sink,
    err: Sink,
    frame: usize,
    is_drawn: bool,
}

impl Thread {
    /// Writes until the process ends. A panic costs the text at hand.
    fn work(mut self, messages: &Receiver<Message>) {
        while catch_unwind(AssertUnwindSafe(|| self.write_all_messages(messages))).is_err() {}
    }

    fn write_all_messages(&mut self, messages: &Receiver<Message>) {
        loop {
            let moves = self.is_drawn || self.writer.moving().is_some();
            let message = if moves {
                messages.recv_timeout(TICK)
            } else {
                messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            let line = self.line();
            if self.is_drawn && (message.is_ok() || line.is_none()) {
                self.draw(ERASE, false);
            }
            match message {
                Ok(message) => self.write(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some(line) = line {
                self.draw(&line, true);
            }
        }
    }

    fn write(&mut self, message: Message) {
        fault::panic_point("writer.write");
        let result = self.write_to(message.stream, &message.bytes, message.lost);
        if let Some(done) = &message.done {
            // If the receiver is gone, nobody needs the answer.
            let _ = done.send(result);
        }
        let stream = message.stream;
        drop(message);
        // The reader has caught up. If nothing more is written, this is the time to tell what it
        // has missed.
        if self.writer.room.available_permits() == QUEUE_BYTES as usize {
            let lost = self.writer.lost.swap(0, Ordering::Relaxed);
            let _ = self.write_to(stream, &[], lost);
        }
    }

    fn write_to(&mut self, stream: Stream, bytes: &[u8], lost: u64) -> io::Result<()> {
        let (sink, json) = match stream {
            Stream::Out => (&mut self.out, HOSTING.get().is_some_and(|hosting| hosting.json)),
            Stream::Err => (&mut self.err, false),
        };
        sink.unread += lost;
        let result = sink.write(bytes, json, &self.writer.written);
        self.writer.is_closed.fetch_or(sink.is_closed, Ordering::Relaxed);
        result
    }

    /// The progress line as it looks now.
    fn line(&mut self) -> Option<String> {
        let moving = self.writer.moving();
        let Moving { what, says, began } = moving.as_ref()?;
        self.frame = (self.frame + 1) % SPINNER.len();
        let spinner = SPINNER.get(self.frame).copied().unwrap_or_default();
        let text = format!(
            "{ERASE}\u{1b}[36m{spinner}\u{1b}[0m {what} \u{1b}[2m{says} {}s\u{1b}[0m",
            began.elapsed().as_secs()
        );
        let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
        Some(if colours { text } else { format!("{ERASE}{spinner} {what} {says} {}s", began.elapsed().as_secs()) })
    }

    fn draw(&mut self, text: &str, is_drawn: bool) {
        let _ = self.err.write_all(text.as_bytes(), &self.writer.written);
        self.is_drawn = is_drawn;
    }
}

/// A stream, and counts of the lines that its reader has missed.
struct Sink {
    file: File,
    /// Its reader is gone.
    is_closed: bool,
    /// The last byte that was written.
    last: u8,
    /// Whether writing failed within a line.
    is_torn: bool,
    /// Lines that were not read in time.
    unread: u64,
    /// Lines that could not be written, and why.
    failed: Option<(u64, io::Error)>,
}

impl Sink {
    fn new(file: File) -> Self {
        Self { file, is_closed: false, last: b'\n', is_torn: false, unread: 0, failed: None }
    }

    /// Writes a text, after a line that counts what was lost before it.
    fn write(&mut self, bytes: &[u8], json: bool, written: &AtomicU64) -> io::Result<()> {
        let mut text = Vec::new();
        if self.is_torn {
            text.push(b'\n');
        }
        text.extend(self.missing(json).as_bytes());
        text.extend(bytes);
        if text.is_empty() {
            return Ok(());
        }
        match self.write_all(&text, written) {
            Ok(()) => {
                (self.unread, self.failed, self.is_torn) = (0, None, false);
                Ok(())
            }
            Err(error) => {
                self.is_torn = self.last != b'\n';
                self.is_closed |= error.kind() == io::ErrorKind::BrokenPipe;
                let before = self.failed.take().map_or(0, |(count, _)| count);
                let more = if bytes.is_empty() { 0 } else { lines(bytes) };
                self.failed = Some((before + more, io::Error::new(error.kind(), error.to_string())));
                Err(error)
            }
        }
    }

    /// The message about lines that were lost.
    fn missing(&self, json: bool) -> String {
        let failed = self.failed.as_ref().filter(|(count, _)| *count > 0);
        if json {
            let count = self.unread + failed.map_or(0, |(count, _)| *count);
            return if count > 0 {
                format!("{{\"type\":\"lines_dropped\",\"lines\":{count}}}\n")
            } else {
                String::new()
            };
        }
        let mut text = String::new();
        if self.unread > 0 {
            let _ = writeln!(text, "{} dropped because nobody read them", were(self.unread));
        }
        if let Some((count, why)) = failed {
            let _ = writeln!(text, "{} dropped because they could not be written: {why}", were(*count));
        }
        text
    }

    fn write_all(&mut self, mut bytes: &[u8], written: &AtomicU64) -> io::Result<()> {
        if self.is_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.last = bytes.get(count - 1).copied().unwrap_or_default();
                    bytes = bytes.get(count..).unwrap_or_default();
                    written.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(TRY_AGAIN),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn were(lines: u64) -> String {
    if lines == 1 { "1 line was".to_owned() } else { format!("{lines} lines were") }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, pipe};
    use std::os::fd::OwnedFd;
    use std::sync::atomic::AtomicU64;
    use std::sync::mpsc;

    use super::{QUEUE_BYTES, Sink, Stream, Writer};

    fn null() -> File {
        File::options().write(true).open("/dev/null").unwrap()
    }

    #[test]
    fn unread_lines_are_dropped_and_counted() {
        let (mut reader, end) = pipe().unwrap();
        let writer = Writer::start("test", File::from(OwnedFd::from(end)), null()).unwrap();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let offered = 3 * QUEUE_BYTES as usize / line.len();
        for _ in 0..offered {
            writer.write_or_drop(Stream::Out, line.clone());
        }
        let (sender, written) = mpsc::sync_channel(1);
        writer.send(Stream::Out, b"the end\n".to_vec(), None, Some(sender));
        let mut text = String::new();
        while !text.ends_with("the end\n") {
            let mut buffer = [0; 8 << 10];
            let count = reader.read(&mut buffer).unwrap();
            text += std::str::from_utf8(&buffer[..count]).unwrap();
        }
        written.recv().unwrap().unwrap();
        let read = text.lines().filter(|line| line.starts_with('x')).count();
        let count = |line: &str| {
            let (count, dropped) = line.split_once(' ')?;
            let singular = dropped == "line was dropped because nobody read them";
            (singular || dropped == "lines were dropped because nobody read them")
                .then(|| count.parse::<usize>().ok())?
        };
        let dropped: usize = text.lines().filter_map(count).sum();
        assert!((QUEUE_BYTES as usize / line.len()..offered).contains(&read), "{read} of {offered}");
        assert_eq!(read + dropped, offered);
    }

    #[test]
    fn a_failing_stream_is_retried_and_a_closed_one_is_not() {
        let written = AtomicU64::new(0);
        let mut sink = Sink::new(File::options().write(true).open("/dev/full").unwrap());
        for _ in 0..2 {
            assert_eq!(sink.write(b"a\n", false, &written).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        }
        let (mut reader, end) = pipe().unwrap();
        sink.file = File::from(OwnedFd::from(end));
        assert_eq!(sink.missing(true), "{\"type\":\"lines_dropped\",\"lines\":2}\n");
        sink.write(b"b\n", false, &written).unwrap();
        let expected =
            "2 lines were dropped because they could not be written: No space left on device (os error 28)\nb\n";
        let mut text = vec![0; expected.len()];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        drop(reader);
        assert_eq!(sink.write(b"c\n", false, &written).unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        assert!(sink.is_closed);
    }
}
