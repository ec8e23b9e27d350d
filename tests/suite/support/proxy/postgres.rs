//! What a PostgreSQL server sends, message by message, so that a fault applies to one of them: a
//! row, or the answer to a `COMMIT`.

use std::io::{BufReader, ErrorKind, Read as _, Result, Write as _};
use std::net::{Shutdown, TcpStream};

use super::{Fault, Shared, Slow, reset_on_close};

/// Forwards what the client sends as it is, and the messages of the server with their faults, until
/// one side has closed.
pub(super) fn serve(shared: &Shared, client: &TcpStream, server: &TcpStream) -> Result<()> {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut from, mut to) = (client, server);
            let _ = std::io::copy(&mut from, &mut to);
            let _ = server.shutdown(Shutdown::Write);
        });
        let done = relay(shared, client, server);
        // A reset comes when the client's end is closed: an orderly close must not precede it.
        let is_reset = done.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
        if is_reset {
            reset_on_close(client);
        }
        let _ = client.shutdown(if is_reset { Shutdown::Read } else { Shutdown::Both });
        let _ = server.shutdown(Shutdown::Both);
        done
    })
}

fn relay(shared: &Shared, mut client: &TcpStream, server: &TcpStream) -> Result<()> {
    let mut from_server = BufReader::new(server);
    while let Some(message) = read(&mut from_server)? {
        let (most, end) = match shared.strike(&line(&message)) {
            None => (message.len(), None),
            Some(Fault::Slow(bytes, pause)) => {
                Slow { inner: client, pace: Some((bytes, pause)) }.write_all(&message)?;
                continue;
            }
            Some(Fault::LoseAnswer) => (0, Some(ErrorKind::ConnectionReset)),
            Some(Fault::ResetAfter(bytes)) => (usize::try_from(bytes).unwrap(), Some(ErrorKind::ConnectionReset)),
            Some(Fault::TruncateAfter(bytes)) => (usize::try_from(bytes).unwrap(), Some(ErrorKind::ConnectionAborted)),
            Some(other) => panic!("{other:?} is a fault of HTTP"),
        };
        client.write_all(&message[..most.min(message.len())])?;
        if let Some(end) = end {
            return Err(end.into());
        }
    }
    Ok(())
}

/// Reads a message: a letter, the length of the rest in four bytes, which count, and its content.
/// `None` if the server has closed the connection.
fn read(from_server: &mut BufReader<&TcpStream>) -> Result<Option<Vec<u8>>> {
    let mut message = vec![0; 5];
    if from_server.read(&mut message[..1])? == 0 {
        return Ok(None);
    }
    from_server.read_exact(&mut message[1..])?;
    let length = u32::from_be_bytes(message[1..].try_into().unwrap());
    message.resize(1 + usize::try_from(length).unwrap(), 0);
    from_server.read_exact(&mut message[5..])?;
    Ok(Some(message))
}

/// Returns the text by which a rule finds a message: its name, and its content as far as it is
/// text.
fn line(message: &[u8]) -> String {
    let name = match message[0] {
        b'D' => "DataRow",
        b'C' => "CommandComplete",
        _ => "other",
    };
    format!("{name} {}", String::from_utf8_lossy(&message[5..]))
}
