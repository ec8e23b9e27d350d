//! What a component is made for, and what it requires of the manifest, by the names of its exports
//! and imports.
//!
//! Imports are checked by name here, long before a component is linked. A manifest that grants too
//! little is therefore refused with the missing lines, instead of a linker error in the middle of a
//! run.

use serde::Serialize;

use super::keys::nearest;
use super::problem::quoted;
use crate::base::{Digest, escape};

/// The package of the guest interface.
const CONTRACT: &str = "anacostia:pipeline/";
/// Its minor version that the host supports; patch versions are compatible.
const CONTRACT_VERSION: &str = "0.1.";
/// Its interfaces that every action may import without a grant.
const FREE: [&str; 4] = ["types", "run-context", "log", "metadata"];
/// Its interface about the new artifacts of a trigger.
const TRIGGER_CONTEXT: &str = "trigger-context";
/// Its interfaces that every trigger component may import.
const FREE_TO_TRIGGERS: [&str; 4] = ["types", TRIGGER_CONTEXT, "log", "metadata"];
/// The interfaces that need a granted resource.
const RESOURCES: [&str; 2] = ["resources", "database"];
/// The interface that makes a component an action.
const ACTION: &str = "action";
/// The optional interface of an action.
const HOOKS: &str = "hooks";
/// The interface that makes a component a trigger component.
const DECIDER: &str = "decider";
/// The supported minor version of WASI; patch versions are compatible.
const WASI_VERSION: &str = "0.2.";
/// The interface that makes a component a command, which is an action too.
const RUN: &str = "wasi:cli/run";
/// The packages of WASI 0.2 that the host links. They grant nothing by themselves.
const WASI: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
/// Drafts of WASI that the host links for convenience. Drafts have no compatible versions, so each
/// name is listed.
const DRAFTS: [&str; 3] =
    ["wasi:logging/logging@0.1.0-draft", "wasi:config/store@0.2.0-rc.1", "wasi:config/store@0.2.0-draft"];

/// The result of inspecting a component file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentInfo {
    /// Digest of the whole file.
    pub digest: Digest,
    /// Size of the file, in bytes.
    pub size: u64,
    /// Names of its imports with versions, such as `anacostia:pipeline/log@0.1.0`, in the order of
    /// the file.
    pub imports: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
    /// The languages that its producers sections name, such as `Rust`.
    pub languages: Vec<String>,
    /// The tools that its producers sections name, such as `wit-component 0.254.0`.
    pub tools: Vec<String>,
}

/// The world that a component was made for, as far as its exports show.
/// [`ComponentInfo::not_an_action`] and [`ComponentInfo::not_a_trigger`] check whether this host
/// supports that version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum World {
    /// The `action` world of the guest interface.
    Action,
    /// The same world with hooks.
    ActionWithHooks,
    /// A program: `wasi:cli/command`.
    Command,
    /// The `trigger` world: a component that decides whether a run starts.
    Trigger,
    /// Another world.
    Unknown,
}

/// What an import requires of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Nothing: every component of its world may have the import.
    Nothing,
    /// A grant.
    Grant(Grant),
    /// The host does not provide the import, for the given reason.
    Refused(String),
}

/// A capability that the manifest grants to an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Reading or writing resources: `reads` or `writes` names one.
    Resources,
    /// Sending requests over the network: `http` names a host.
    Http,
}

impl Grant {
    /// Returns the manifest lines that grant it to `action`, with `resource` as the example.
    #[must_use]
    pub fn lines(self, action: &str, resource: &str) -> String {
        match self {
            Self::Resources => {
                format!("[actions.{action}]\nreads = [\"{resource}\"]     # or writes = [\"{resource}\"]")
            }
            Self::Http => format!("[actions.{action}]\nhttp = [\"api.example.com:443\"]     # the hosts that it needs"),
        }
    }
}

impl ComponentInfo {
    /// Returns what each import requires of the manifest.
    pub fn needs(&self) -> impl Iterator<Item = (&str, Need)> {
        let need = if self.world() == World::Trigger { need_of_trigger } else { need };
        self.imports.iter().map(move |import| (import.as_str(), need(import)))
    }

    /// Returns why it is not a trigger component, or `None` if it is one.
    #[must_use]
    pub fn not_a_trigger(&self) -> Option<String> {
        match self.version_of(DECIDER) {
            Some(version) if !served(version) => Some(of_another_version(version)),
            Some(_) if self.world() == World::Trigger => None,
            Some(_) => Some(format!("exports `{ACTION}` too: a component is an action or a trigger, not both")),
            None => Some(format!("does not export `{CONTRACT}{DECIDER}@{CONTRACT_VERSION}0`")),
        }
    }

    /// Returns why it is not an action, or `None` if it is one.
    #[must_use]
    pub fn not_an_action(&self) -> Option<String> {
        // The host would never call hooks of another version, and the user would not notice.
        if let Some(version) =
            [ACTION, HOOKS].iter().filter_map(|name| self.version_of(name)).find(|version| !served(version))
        {
            return Some(of_another_version(version));
        }
        match (self.world(), self.run_versions().next()) {
            (World::Action | World::ActionWithHooks, _) => None,
            (World::Command, _) if self.is_command() => None,
            (World::Command, Some(version)) => {
                let version = escape(version.as_bytes());
                Some(format!("is a command of WASI {version}; this host serves WASI 0.2: build for wasm32-wasip2"))
            }
            (World::Trigger, _) => Some("decides whether runs start: name it in `component` of a trigger".to_owned()),
            _ => Some(format!("exports neither `{CONTRACT}{ACTION}@{CONTRACT_VERSION}0` nor `{RUN}@0.2.0`")),
        }
    }

    /// Returns the world that it was made for.
    #[must_use]
    pub fn world(&self) -> World {
        if self.version_of(ACTION).is_some() {
            if self.version_of(HOOKS).is_some_and(served) { World::ActionWithHooks } else { World::Action }
        } else if self.version_of(DECIDER).is_some() {
            World::Trigger
        } else if self.run_versions().next().is_some() {
            World::Command
        } else {
            World::Unknown
        }
    }

    /// Returns whether it is a command: a program with files and an exit code that does not use the
    /// guest interface.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.world() == World::Command && self.run_versions().any(|version| is_patch_of(version, WASI_VERSION))
    }

    fn run_versions(&self) -> impl Iterator<Item = &str> {
        let exports = self.exports.iter().filter_map(|name| split(name));
        exports.filter(|(interface, _)| *interface == RUN).map(|(_, version)| version)
    }

    /// Returns whether it imports its whole world, whether or not it uses all of it, because it
    /// contains an interpreter that may call anything. componentize-py leaves the name of the tool
    /// with which it stores the interpreter's memory, `ComponentizeJS` its own name.
    #[must_use]
    pub fn imports_whole_world(&self) -> bool {
        let mut tools = self.tools.iter().filter_map(|tool| tool.split(' ').next());
        tools.any(|tool| matches!(tool, "component-init-transform" | "ComponentizeJS"))
    }

    /// Returns whether it has hooks: functions that are called before and after each attempt.
    #[must_use]
    pub fn has_hooks(&self) -> bool {
        self.world() == World::ActionWithHooks
    }

    /// Returns the version in which it exports an interface of the package: a supported one, if
    /// there are several.
    fn version_of(&self, interface: &str) -> Option<&str> {
        let exports = self.exports.iter().filter_map(|name| split(name));
        let versions = || {
            exports
                .clone()
                .filter(|(name, _)| name.strip_prefix(CONTRACT) == Some(interface))
                .map(|(_, version)| version)
        };
        versions().find(|version| served(version)).or_else(|| versions().next())
    }
}

fn of_another_version(version: &str) -> String {
    format!("is made for version {} of the contract, not for {CONTRACT_VERSION}x", escape(version.as_bytes()))
}

/// Returns what an import of this name requires of the manifest, in a trigger component.
fn need_of_trigger(import: &str) -> Need {
    let refused = |why: &str| Need::Refused(why.to_owned());
    let (interface, version) = split(import).unwrap_or((import, ""));
    match interface.strip_prefix(CONTRACT) {
        Some(name) if FREE_TO_TRIGGERS.contains(&name) && served(version) => Need::Nothing,
        Some("run-context") => refused("a trigger has no run: use `trigger-context`"),
        Some(name) if RESOURCES.contains(&name) => refused(
            "a trigger has no access to data: decide by the artifacts that `trigger-context` lists, or let an action end with `skip`",
        ),
        Some(DECIDER) => refused("a trigger exports it, and the host calls it"),
        _ => match need(import) {
            Need::Grant(Grant::Http) => refused("a trigger has no network"),
            other => other,
        },
    }
}

/// Returns what an import of this name requires of the manifest, in an action.
#[must_use]
pub fn need(import: &str) -> Need {
    let refused = |why: &str| Need::Refused(why.to_owned());
    let Some((interface, version)) = split(import) else {
        return refused("only versioned interfaces are available, such as `anacostia:pipeline/log@0.1.0`");
    };
    if let Some(name) = interface.strip_prefix(CONTRACT) {
        return match name {
            _ if !served(version) => {
                refused("this host serves version 0.1.x of the contract: build against its `wit` folder")
            }
            name if RESOURCES.contains(&name) => Need::Grant(Grant::Resources),
            name if FREE.contains(&name) => Need::Nothing,
            "action" | "hooks" => refused("an action exports it, and the host calls it"),
            TRIGGER_CONTEXT | DECIDER => refused("only components of the world `trigger` have it"),
            name => match nearest(name, FREE.into_iter().chain(RESOURCES)) {
                Some(near) => Need::Refused(format!("there is no such interface: did you mean `{CONTRACT}{near}`?")),
                None => refused("there is no such interface in the contract"),
            },
        };
    }
    let Some((package, name)) = interface.strip_prefix("wasi:").and_then(|interface| interface.split_once('/')) else {
        return refused("only `anacostia:pipeline` and WASI 0.2 are available");
    };
    match package {
        "http" if !is_patch_of(version, WASI_VERSION) => refused("this host serves WASI 0.2: build for wasm32-wasip2"),
        "http" if matches!(name, "types" | "outgoing-handler") => Need::Grant(Grant::Http),
        "http" => {
            refused("an action sends requests, and takes none: only `types` and `outgoing-handler` are available")
        }
        "logging" | "config" if DRAFTS.contains(&import) => Need::Nothing,
        "logging" | "config" => {
            refused("this host serves the drafts `wasi:logging/logging@0.1.0-draft` and `wasi:config/store@0.2.0-rc.1`")
        }
        package if WASI.contains(&package) && is_patch_of(version, WASI_VERSION) => Need::Nothing,
        package if WASI.contains(&package) => refused("this host serves WASI 0.2: build for wasm32-wasip2"),
        _ => refused("it is not part of WASI 0.2"),
    }
}

/// Returns whether this host supports that version of the guest interface.
fn served(version: &str) -> bool {
    is_patch_of(version, CONTRACT_VERSION)
}

/// Splits `interface@version`.
fn split(name: &str) -> Option<(&str, &str)> {
    name.split_once('@')
}

/// Returns whether `version` is `prefix` and a number: not a release candidate, and no other minor
/// version.
fn is_patch_of(version: &str, prefix: &str) -> bool {
    version.strip_prefix(prefix).is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|c| c.is_ascii_digit()))
}

/// Returns the message for an import that the host does not provide.
pub(super) fn refusal(import: &str, why: &str) -> String {
    format!("the component imports {}: {why}", quoted(import))
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use super::{ComponentInfo, Grant, Need, World, need};
    use crate::base::Digest;

    /// Returns a component with these exports.
    fn exporting(names: &[impl Display]) -> ComponentInfo {
        ComponentInfo {
            digest: Digest::of(b""),
            size: 0,
            imports: Vec::new(),
            exports: names.iter().map(ToString::to_string).collect(),
            languages: Vec::new(),
            tools: Vec::new(),
        }
    }

    #[test]
    fn the_world_is_derived_from_the_exports() {
        let world = |exports: &[&str]| exporting(exports).world();
        assert_eq!(world(&["anacostia:pipeline/action@0.1.0"]), World::Action);
        assert_eq!(
            world(&["anacostia:pipeline/hooks@0.1.0", "anacostia:pipeline/action@0.1.0"]),
            World::ActionWithHooks
        );
        assert_eq!(world(&["anacostia:pipeline/hooks@0.1.0"]), World::Unknown);
        assert_eq!(world(&["anacostia:pipeline/action@0.1.0", "wasi:cli/run@0.2.6"]), World::Action);
        assert_eq!(world(&["wasi:cli/run@0.2.6"]), World::Command);
        assert_eq!(world(&["wasi:http/incoming-handler@0.2.6"]), World::Unknown);
        assert_eq!(world(&["anacostia:pipeline/decider@0.1.0"]), World::Trigger);
        assert_eq!(world(&["anacostia:pipeline/decider@0.1.0", "anacostia:pipeline/action@0.1.0"]), World::Action);
        // Also in a version that this host does not support.
        assert_eq!(world(&["anacostia:pipeline/action@0.9.0"]), World::Action);
        assert_eq!(world(&["wasi:cli/run@0.3.0"]), World::Command);
    }

    #[test]
    fn hooks_are_recognised_and_their_version_is_checked() {
        let exporting = |names: &[&str]| {
            exporting(&names.iter().map(|name| format!("anacostia:pipeline/{name}")).collect::<Vec<_>>())
        };
        let info = exporting(&["action@0.1.0"]);
        assert!(!info.has_hooks() && info.not_an_action().is_none());
        let info = exporting(&["action@0.1.0", "hooks@0.1.3"]);
        assert!(info.has_hooks() && info.not_an_action().is_none());
        let info = exporting(&["action@0.1.0", "hooks@0.2.0"]);
        assert!(!info.has_hooks());
        assert_eq!(info.not_an_action().unwrap(), "is made for version 0.2.0 of the contract, not for 0.1.x");
        assert!(exporting(&["hooks@0.1.0"]).not_an_action().unwrap().starts_with("exports neither"));
    }

    #[test]
    fn a_wasi_command_is_recognised_by_its_exports_and_version() {
        let info = exporting(&["wasi:cli/run@0.2.3"]);
        assert!(info.is_command() && info.not_an_action().is_none() && !info.has_hooks());
        let info = exporting(&["wasi:cli/run@0.2.3", "anacostia:pipeline/action@0.1.0"]);
        assert!(!info.is_command() && info.not_an_action().is_none());
        let info = exporting(&["wasi:cli/run@0.3.0"]);
        assert!(!info.is_command());
        assert!(info.not_an_action().unwrap().starts_with("is a command of WASI 0.3.0"));
    }

    #[test]
    fn imports_are_free_granted_or_refused() {
        for free in [
            "anacostia:pipeline/types@0.1.0",
            "anacostia:pipeline/log@0.1.7",
            "wasi:cli/environment@0.2.0",
            super::DRAFTS[0],
        ] {
            assert_eq!(need(free), Need::Nothing, "{free}");
        }
        for granted in ["anacostia:pipeline/resources@0.1.0", "anacostia:pipeline/database@0.1.0"] {
            assert_eq!(need(granted), Need::Grant(Grant::Resources), "{granted}");
        }
        for http in ["wasi:http/types@0.2.0", "wasi:http/outgoing-handler@0.2.4"] {
            assert_eq!(need(http), Need::Grant(Grant::Http), "{http}");
        }
        assert_eq!(need("anacostia:pipeline/database@0.1.0"), need("anacostia:pipeline/resources@0.1.0"));
        for refused in [
            "anacostia:pipeline/log",
            "anacostia:pipeline/log@0.2.0",
            "anacostia:pipeline/log@0.1.0-rc",
            "anacostia:pipeline/logs@0.1.0",
            "anacostia:pipeline/hooks@0.1.0",
            "wasi:http/outgoing-handler@0.3.0",
            "wasi:http/incoming-handler@0.2.0",
            "wasi:logging/logging@0.1.0",
            "wasi:config/store@0.2.0",
            "wasi:cli/environment@0.3.0",
            "wasi:nn/graph@0.2.0",
            "acme:tools/thing@1.0.0",
            "bare-function",
        ] {
            assert!(matches!(need(refused), Need::Refused(_)), "{refused}");
        }
    }

    #[test]
    fn a_trigger_is_recognised_and_may_import_less_than_an_action() {
        let decides = exporting(&["anacostia:pipeline/decider@0.1.3"]);
        assert_eq!(decides.not_a_trigger(), None);
        assert!(decides.not_an_action().unwrap().starts_with("decides whether runs start"));
        let newer = exporting(&["anacostia:pipeline/decider@0.2.0"]);
        assert_eq!(newer.not_a_trigger().unwrap(), "is made for version 0.2.0 of the contract, not for 0.1.x");
        let both = exporting(&["anacostia:pipeline/decider@0.1.0", "anacostia:pipeline/action@0.1.0"]);
        assert!(both.not_a_trigger().unwrap().starts_with("exports `action` too") && both.not_an_action().is_none());
        assert!(exporting(&["wasi:cli/run@0.2.3"]).not_a_trigger().unwrap().starts_with("does not export"));

        let need = |import: &str| {
            ComponentInfo { imports: vec![import.to_owned()], ..decides.clone() }.needs().next().unwrap().1
        };
        for free in ["trigger-context@0.1.0", "metadata@0.1.0", "log@0.1.1", "types@0.1.0"] {
            assert_eq!(need(&format!("anacostia:pipeline/{free}")), Need::Nothing, "{free}");
        }
        assert_eq!(need("wasi:clocks/wall-clock@0.2.0"), Need::Nothing);
        for refused in [
            "anacostia:pipeline/resources@0.1.0",
            "anacostia:pipeline/database@0.1.0",
            "anacostia:pipeline/run-context@0.1.0",
            "anacostia:pipeline/decider@0.1.0",
            "anacostia:pipeline/log@0.2.0",
            "wasi:http/outgoing-handler@0.2.0",
            "bare-function",
        ] {
            assert!(matches!(need(refused), Need::Refused(_)), "{refused}");
        }
        assert!(matches!(super::need("anacostia:pipeline/trigger-context@0.1.0"), Need::Refused(_)));
    }
}
