//! The hosts that the manifest grants, and the denials for all others.

use crate::base::{Endpoint, Host};

use super::request_log::Ticket;

/// The name of the capability in denials.
const CALL: &str = "wasi:http/outgoing-handler";

/// The hosts that an action may send requests to.
pub(super) struct Permits {
    pub(super) action: String,
    pub(super) hosts: Vec<Endpoint>,
}

impl Permits {
    /// Returns whether the manifest lists the endpoint.
    pub(super) fn allows(&self, endpoint: &Endpoint) -> bool {
        self.hosts.contains(endpoint)
    }

    /// Records that the host is not granted.
    pub(super) fn deny_host(&self, ticket: &Ticket, target: &str, endpoint: &Endpoint) {
        let action = &self.action;
        let other = self.hosts.iter().find(|granted| granted.host == endpoint.host);
        let but = other.map(|granted| format!(" (its port {} is allowed)", granted.port)).unwrap_or_default();
        let message = format!("`{action}` may not send requests to `{endpoint}`{but}; {}", self.lines(endpoint));
        ticket.denied(CALL, target, &message);
    }

    /// Records that the name resolves to an address that is neither public nor listed.
    pub(super) fn deny_address(&self, ticket: &Ticket, endpoint: &Endpoint, listed: &Endpoint, what: &str) {
        let Host::Address(address) = &listed.host else { return };
        let action = &self.action;
        let message = format!(
            "`{action}` may not send requests to `{endpoint}`, because the name resolves to {address}, {what}, which must be listed itself; {}",
            self.lines(listed)
        );
        ticket.denied(CALL, &endpoint.to_string(), &message);
    }

    /// Returns the manifest lines that would also grant `endpoint`.
    fn lines(&self, endpoint: &Endpoint) -> String {
        let list: Vec<String> = self.hosts.iter().chain([endpoint]).map(|host| format!("\"{host}\"")).collect();
        let action = &self.action;
        format!("to grant it, write in anacostia.toml:\n[actions.{action}]\nhttp = [{}]", list.join(", "))
    }
}
