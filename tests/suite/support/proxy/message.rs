//! Messages of HTTP/1.1: the head, and how long the body is.

use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Result, Write};
use std::net::TcpStream;

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Bytes(u64),
    Chunks,
    UntilClose,
}

impl Body {
    /// A response without a length ends with its connection.
    pub(super) fn or_until_close(self, response: &Head) -> Self {
        let none = matches!(response.status(), Some(204 | 304));
        let unsaid = self == Self::Bytes(0) && !none && response.value("content-length").is_none();
        if unsaid { Self::UntilClose } else { self }
    }
}

/// The first line and the headers of a message.
pub(super) struct Head {
    pub(super) text: String,
}

impl Head {
    /// Returns `None` if the connection ends before the first byte.
    pub(super) fn read(stream: &mut BufReader<&TcpStream>) -> Result<Option<Self>> {
        let mut text = String::new();
        loop {
            let begin = text.len();
            if stream.read_line(&mut text)? == 0 {
                return if begin == 0 { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
            if text[begin..].trim().is_empty() {
                return Ok(Some(Self { text }));
            }
        }
    }

    pub(super) fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or("")
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.first_line().split(' ').nth(1)?.parse().ok()
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(super) fn body(&self, none: bool) -> Body {
        if none {
            Body::Bytes(0)
        } else if self.value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            Body::Chunks
        } else {
            Body::Bytes(self.value("content-length").and_then(|value| value.parse().ok()).unwrap_or(0))
        }
    }
}

/// Copies a body as it is on the wire, chunk headers included, but at most `most` bytes.
pub(super) fn copy_body(from: &mut BufReader<&TcpStream>, to: &mut impl Write, body: Body, most: u64) -> Result<()> {
    match body {
        Body::Bytes(length) => copy(from, to, length.min(most), true),
        Body::UntilClose => copy(from, to, most, false),
        Body::Chunks => {
            let mut left = most;
            loop {
                let mut line = String::new();
                from.read_line(&mut line)?;
                let size = line.split(';').next().unwrap_or("").trim();
                let size = u64::from_str_radix(size, 16).map_err(Error::other)?;
                if left < line.len() as u64 {
                    return Ok(());
                }
                to.write_all(line.as_bytes())?;
                left -= line.len() as u64;
                // With the line break after the chunk. There are no trailers here.
                copy(from, to, (size + 2).min(left), true)?;
                left = left.saturating_sub(size + 2);
                if size == 0 || left == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// Copies `left` bytes. With `all`, fewer are an error.
fn copy(from: &mut BufReader<&TcpStream>, to: &mut impl Write, mut left: u64, all: bool) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = from.read(&mut buffer[..most])?;
        if read == 0 {
            return if all { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) };
        }
        to.write_all(&buffer[..read])?;
        left -= read as u64;
    }
    Ok(())
}
