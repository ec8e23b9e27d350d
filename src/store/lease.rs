//! One host per store.

use async_trait::async_trait;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use super::{Result, StoreError};
use crate::base::Timestamp;

/// The holder of a store that is open for writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process id.
    pub pid: u32,
    /// When it opened the store.
    pub started_at: Timestamp,
    /// The address at which it serves HTTP, once it does.
    pub listen: Option<String>,
    /// The name of its machine, if the store can be reached from several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Which process it is, if the store can be reached from several machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
}

/// Tells a process from all others, also of other machines and of later boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Where its id is valid: a boot of a machine, and a namespace there. Containers have
    /// namespaces of their own.
    valid_in: String,
    /// When it began, in ticks since the boot.
    began: String,
}

impl Process {
    /// Returns this process; `None` if the system does not tell.
    fn this() -> Option<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        let valid_in = format!("{} {}", boot.trim(), namespace.display());
        let stat = stat(std::process::id()).ok()?;
        Some(Self { valid_in, began: began(&stat)?.to_owned() })
    }

    /// Whether it is certain that it has ended. About a process elsewhere nothing is certain.
    fn has_ended(&self, pid: u32) -> bool {
        if Self::this().is_none_or(|this| this.valid_in != self.valid_in) {
            return false;
        }
        match stat(pid) {
            Ok(stat) => began(&stat).is_none_or(|began| began != self.began),
            // The processes of other users may be hidden. A signal tells whether there is one.
            Err(_) => i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH)),
        }
    }
}

fn stat(pid: u32) -> std::io::Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
}

/// Returns when a process began; `None` if it has ended, and its parent has not been told.
fn began(stat: &str) -> Option<&str> {
    // The name before these fields may have parentheses itself.
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18) }
}

impl Holder {
    /// Returns the description of this process as the holder of a store on a server.
    pub(super) fn this_host(now: Timestamp) -> Self {
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let machine = machine.map(|name| name.trim().to_owned());
        Self { pid: std::process::id(), started_at: now, listen: None, machine, process: Process::this() }
    }

    /// Reads the holder on record.
    pub(super) fn read(on_record: Option<&str>) -> Option<Self> {
        serde_json::from_str(on_record?).ok()
    }

    /// Whether it is certain that this host has ended, although its lease may have time left.
    pub(super) fn has_ended(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.has_ended(self.pid))
    }

    /// Describes the holder on record, for people.
    pub(super) fn describe(on_record: Option<&str>) -> String {
        Self::read(on_record).map_or_else(|| "another host".to_owned(), |holder| holder.to_string())
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.pid)?;
        if let Some(machine) = &self.machine {
            write!(f, " on {machine}")?;
        }
        write!(f, " since {}", self.started_at)?;
        match &self.listen {
            Some(listen) => write!(f, " (listening on {listen})"),
            None => Ok(()),
        }
    }
}

/// How a host has lost the right to write a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// Files that it writes to were removed or replaced; what happened, for people.
    Files(String),
    /// Another host has taken the store over.
    Host {
        /// Which store.
        store: String,
        /// The other host, for people.
        by: String,
    },
    /// The server of this store has less on record than it had confirmed.
    Forgotten(String),
}

impl From<Loss> for StoreError {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Files(what) => Self::Lost { what },
            Loss::Host { store, by } => Self::TakenOver { store, by },
            Loss::Forgotten(store) => Self::Forgotten { store },
        }
    }
}

/// The right to be the only host of a store. The host that opens a store for writing has it, until
/// the store is dropped or the process ends.
#[async_trait]
pub trait HostLease: Send + Sync + std::fmt::Debug {
    /// Records the address at which this host serves HTTP, for those who ask who holds the store.
    ///
    /// # Errors
    /// When it cannot be recorded.
    async fn announce(&self, address: &str) -> Result<()>;

    /// Waits until the right is lost, and returns how. Returns within seconds of the loss, or of
    /// the moment at which the store can be reached again. From then on nothing that this host
    /// writes is certain to be kept, so the host stops.
    async fn lost(&self) -> Loss;
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::{Process, began, stat};

    #[test]
    fn a_process_of_this_machine_has_ended_once_it_is_gone_or_another_one_has_its_id() {
        let this = Process::this().unwrap();
        let pid = std::process::id();
        assert!(!this.has_ended(pid));
        let earlier = Process { began: "1".to_owned(), ..this.clone() };
        assert!(earlier.has_ended(pid), "another process has its id");
        let elsewhere = Process { valid_in: "another boot".to_owned(), began: "1".to_owned() };
        assert!(!elsewhere.has_ended(pid), "nothing is known about it here");
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let other = Process { began: began(&stat(child.id()).unwrap()).unwrap().to_owned(), ..this };
        assert!(!other.has_ended(child.id()));
        child.kill().unwrap();
        while began(&stat(child.id()).unwrap()).is_some() {
            std::thread::yield_now();
        }
        assert!(other.has_ended(child.id()), "it is a zombie");
        child.wait().unwrap();
        assert!(other.has_ended(child.id()));
    }
}
