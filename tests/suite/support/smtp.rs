//! A mail server: speaks as much of SMTP (RFC 5321) as a client needs to hand over a mail.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A mail as it was received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// Headers and text, without the transparency dots.
    pub(crate) data: String,
}

/// A server that runs until the test ends.
#[derive(Clone)]
pub(crate) struct MailServer {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

#[derive(Default)]
struct Received {
    /// The first four letters of each command.
    commands: Vec<String>,
    mails: Vec<Mail>,
}

impl MailServer {
    /// Starts a server that takes every mail, unless it is for `nobody@…`. With `login`, it asks
    /// for a login, and answers it with this line.
    pub(crate) fn start(login: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), received: Arc::default() };
        let received = Arc::clone(&server.received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = Arc::clone(&received);
                std::thread::spawn(move || {
                    // So that no thread outlives a test that has failed.
                    let _ = stream.set_read_timeout(Some(Duration::from_mins(2)));
                    let _ = serve(&stream, login, &received);
                });
            }
        });
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `smtp://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Returns the first four letters of each command so far.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.received.lock().unwrap().commands.clone()
    }

    /// Returns the mails so far.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.received.lock().unwrap().mails.clone()
    }
}

fn serve(mut stream: &TcpStream, login: Option<&str>, received: &Mutex<Received>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    write!(stream, "220 mail.test ESMTP\r\n")?;
    let mut mail = Mail::default();
    while let Some(line) = lines.next() {
        let line = line?;
        let argument = |line: &str| line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let command = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        received.lock().unwrap().commands.push(command.clone());
        match command.as_str() {
            "EHLO" if login.is_some() => write!(stream, "250-mail.test\r\n250 AUTH PLAIN\r\n")?,
            "EHLO" | "HELO" => write!(stream, "250 mail.test\r\n")?,
            "AUTH" => write!(stream, "{}\r\n", login.unwrap_or("502 no login here"))?,
            "MAIL" => {
                mail = Mail { from: argument(&line), ..Mail::default() };
                write!(stream, "250 ok\r\n")?;
            }
            "RCPT" if argument(&line).starts_with("nobody@") => write!(stream, "550 there is nobody\r\n")?,
            "RCPT" => {
                mail.to.push(argument(&line));
                write!(stream, "250 ok\r\n")?;
            }
            "DATA" => {
                write!(stream, "354 go on\r\n")?;
                for line in lines.by_ref() {
                    let line = line?;
                    if line == "." {
                        break;
                    }
                    mail.data.push_str(line.strip_prefix('.').unwrap_or(&line));
                    mail.data.push('\n');
                }
                received.lock().unwrap().mails.push(std::mem::take(&mut mail));
                write!(stream, "250 taken\r\n")?;
            }
            "NOOP" | "RSET" => write!(stream, "250 ok\r\n")?,
            "QUIT" => return write!(stream, "221 bye\r\n"),
            _ => write!(stream, "500 not known here\r\n")?,
        }
    }
    Ok(())
}
