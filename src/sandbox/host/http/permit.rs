//! What the manifest grants of the network, and what is said when it does not.

use crate::base::{Endpoint, Host};

use super::book::Ticket;

/// The capability, as denials call it.
const CALL: &str = "wasi:http/outgoing-handler";

/// The hosts that an action may send requests to.
pub(super) struct Permits {
    pub(super) action: String,
    pub(super) hosts: Vec<Endpoint>,
}

impl Permits {
    /// Whether the manifest lists it.
    pub(super) fn allows(&self, endpoint: &Endpoint) -> bool {
        self.hosts.contains(endpoint)
    }

    /// The host is not granted.
    pub(super) fn deny_host(&self, ticket: &Ticket, target: &str, endpoint: &Endpoint) {
        let action = &self.action;
        let other = self.hosts.iter().find(|granted| granted.host == endpoint.host);
        let but = other.map(|granted| format!(" (its port {} it may)", granted.port)).unwrap_or_default();
        let message = format!("`{action}` may not send requests to `{endpoint}`{but}; {}", self.lines(endpoint));
        ticket.denied(CALL, target, &message);
    }

    /// The name leads to an address that is not public, and not listed.
    pub(super) fn deny_address(&self, ticket: &Ticket, endpoint: &Endpoint, listed: &Endpoint, what: &str) {
        let Host::Address(address) = &listed.host else { return };
        let action = &self.action;
        let message = format!(
            "`{action}` may not send requests to `{endpoint}`, because the name leads to {address}, {what}, which is reached only if it is listed; {}",
            self.lines(listed)
        );
        ticket.denied(CALL, &endpoint.to_string(), &message);
    }

    /// The lines of a manifest that would grant it besides.
    fn lines(&self, endpoint: &Endpoint) -> String {
        let list: Vec<String> = self.hosts.iter().chain([endpoint]).map(|host| format!("\"{host}\"")).collect();
        let action = &self.action;
        format!("to grant it, write in anacostia.toml:\n[actions.{action}]\nhttp = [{}]", list.join(", "))
    }
}
