//! How long the server waits for its clients.

use std::time::Duration;

/// How long the server waits for a client before it gives up. Tests wait for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long a request's head may take to arrive, and how long a connection may stay open
    /// between requests.
    pub head: Duration,
    /// How long a body may take to arrive, unless it is an upload.
    pub body: Duration,
    /// How long a client may send nothing of an upload.
    pub upload: Duration,
    /// How long a client may read nothing of what is sent to it. The system counts in milliseconds.
    pub stall: Duration,
    /// How long an event stream may be without a message. Then a comment is sent, so that both ends
    /// notice a broken connection.
    pub heartbeat: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            body: Duration::from_secs(15),
            upload: Duration::from_secs(30),
            stall: Duration::from_mins(1),
            heartbeat: Duration::from_secs(15),
        }
    }
}
