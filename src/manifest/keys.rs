//! The keys of a manifest: which are known, which come later, and what people may have meant.

/// The keys of one table.
#[derive(Debug)]
pub(super) struct Keys {
    /// Where such a table stands, for "belongs to".
    pub(super) home: &'static str,
    /// The keys.
    pub(super) known: &'static [&'static str],
    /// Keys that are promised, and not available in this version.
    pub(super) later: &'static [&'static str],
    /// What others call it, and what it is called here.
    pub(super) meant: &'static [(&'static str, &'static str)],
}

pub(super) static ROOT: Keys = Keys {
    home: "the top of the manifest",
    known: &["manifest_version", "pipeline", "server", "metadata_store", "resources", "actions"],
    later: &[],
    meant: &[
        ("version", "manifest_version"),
        ("store", "metadata_store"),
        ("metadata", "metadata_store"),
        ("database", "metadata_store"),
        ("inputs", "resources"),
        ("outputs", "resources"),
        ("nodes", "resources"),
        ("steps", "actions"),
        ("tasks", "actions"),
        ("jobs", "actions"),
        ("ops", "actions"),
    ],
};

pub(super) static PIPELINE: Keys = Keys {
    home: "[pipeline]",
    known: &["name", "join", "max_concurrent_runs", "state", "logs", "params"],
    later: &[],
    meant: &[
        ("title", "name"),
        ("id", "name"),
        ("concurrency", "max_concurrent_runs"),
        ("max_runs", "max_concurrent_runs"),
        ("log", "logs"),
        ("max_logs", "logs"),
        ("log_retention", "logs"),
    ],
};

pub(super) static SERVER: Keys = Keys {
    home: "[server]",
    known: &["listen", "hosts", "insecure", "token_sha256"],
    later: &[],
    meant: &[
        ("host", "listen"),
        ("allowed_hosts", "hosts"),
        ("server_name", "hosts"),
        ("port", "listen"),
        ("bind", "listen"),
        ("address", "listen"),
        ("addr", "listen"),
        ("token", "token_sha256"),
    ],
};

pub(super) static STORE: Keys = Keys {
    home: "[metadata_store]",
    known: &["kind", "path", "durability"],
    later: &["url"],
    meant: &[("type", "kind"), ("file", "path"), ("database", "path")],
};

pub(super) static FOLDER: Keys = Keys {
    home: "[resources.NAME]",
    known: &["kind", "path", "watch", "include", "exclude", "ignore", "settle", "rescan", "trigger"],
    later: &[],
    meant: &[
        ("type", "kind"),
        ("folder", "path"),
        ("dir", "path"),
        ("directory", "path"),
        ("watched", "watch"),
        ("glob", "include"),
        ("pattern", "include"),
        ("patterns", "include"),
        ("files", "include"),
        ("ignored", "ignore"),
        ("temporary", "ignore"),
        ("poll", "rescan"),
        ("interval", "rescan"),
        ("trigger_when", "trigger"),
    ],
};

pub(super) static TRIGGER: Keys = Keys {
    home: "`trigger` of a resource",
    known: &["min_artifacts", "max_artifacts", "min_bytes", "quiet_for", "max_wait"],
    later: &["every", "cron", "metric", "all", "any", "group_by"],
    meant: &[
        ("min", "min_artifacts"),
        ("count", "min_artifacts"),
        ("min_files", "min_artifacts"),
        ("max", "max_artifacts"),
        ("max_files", "max_artifacts"),
        ("batch_size", "max_artifacts"),
        ("debounce", "quiet_for"),
        ("quiet", "quiet_for"),
        ("timeout", "max_wait"),
    ],
};

pub(super) static ACTION: Keys = Keys {
    home: "[actions.NAME]",
    known: &[
        "component",
        "digest",
        "build",
        "after",
        "reads",
        "writes",
        "retrigger",
        "params",
        "args",
        "stdin",
        "env",
        "secrets",
        "http",
        "limits",
        "retry",
        "run_when",
    ],
    later: &[],
    meant: &[
        ("wasm", "component"),
        ("module", "component"),
        ("file", "component"),
        ("path", "component"),
        ("image", "component"),
        ("sha256", "digest"),
        ("command", "build"),
        ("depends_on", "after"),
        ("needs", "after"),
        ("requires", "after"),
        ("upstream", "after"),
        ("inputs", "reads"),
        ("input", "reads"),
        ("outputs", "writes"),
        ("output", "writes"),
        ("config", "params"),
        ("argv", "args"),
        ("arguments", "args"),
        ("environment", "env"),
        ("hosts", "http"),
        ("allowed_hosts", "http"),
        ("allowed_outbound_hosts", "http"),
        ("network", "http"),
        ("timeout", "limits"),
        ("retries", "retry"),
        ("when", "run_when"),
    ],
};

pub(super) static SECRET: Keys = Keys {
    home: "a secret of an action",
    known: &["from", "header", "host", "prefix"],
    later: &[],
    meant: &[
        ("env", "from"),
        ("value", "from"),
        ("source", "from"),
        ("name", "header"),
        ("url", "host"),
        ("scheme", "prefix"),
    ],
};

pub(super) static BUILD: Keys = Keys {
    home: "`build` of an action",
    known: &["command", "watch"],
    later: &[],
    meant: &[("cmd", "command"), ("run", "command"), ("script", "command"), ("sources", "watch")],
};

pub(super) static LIMITS: Keys = Keys {
    home: "`limits` of an action",
    known: &[
        "memory",
        "cpu",
        "wall",
        "output",
        "log",
        "handles",
        "metric_names",
        "http_body",
        "http_requests",
        "http_wait",
    ],
    later: &[],
    meant: &[("ram", "memory"), ("timeout", "wall"), ("time", "wall"), ("duration", "wall"), ("disk", "output")],
};

pub(super) static RETRY: Keys = Keys {
    home: "`retry` of an action",
    known: &["max_attempts", "backoff", "max_backoff"],
    later: &[],
    meant: &[
        ("attempts", "max_attempts"),
        ("max_retries", "max_attempts"),
        ("retries", "max_attempts"),
        ("count", "max_attempts"),
        ("delay", "backoff"),
        ("max_delay", "max_backoff"),
    ],
};

static ALL: [&Keys; 11] =
    [&ROOT, &PIPELINE, &SERVER, &STORE, &FOLDER, &TRIGGER, &ACTION, &SECRET, &BUILD, &LIMITS, &RETRY];

impl Keys {
    /// The known key that someone probably meant who wrote `key`.
    pub(super) fn meant_by(&self, key: &str) -> Option<&'static str> {
        let known = self.meant.iter().find(|(theirs, _)| *theirs == key).map(|(_, ours)| *ours);
        known.or_else(|| nearest(key, self.known.iter().copied()))
    }

    /// What to say to someone who wrote `key` here.
    pub(super) fn advice(&self, key: &str) -> String {
        if let Some(meant) = self.meant_by(key) {
            return format!("did you mean `{meant}`?");
        }
        if let Some(other) = ALL.iter().find(|keys| keys.known.contains(&key)) {
            return format!("`{key}` belongs to {}", other.home);
        }
        format!("the keys here are {}", super::problem::listed(self.known.iter().copied(), "and"))
    }
}

/// The candidate that `word` most likely was meant to be, if one is near enough for a slip of the pen.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a long text is no slip of the pen, and comparing it would take long.
    if word.chars().count() > 100 {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| {
            let longer = word.chars().count().max(candidate.len());
            *distance <= (longer / 3).max(1) && *distance < longer
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::{ACTION, ALL, FOLDER, nearest};

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let names = ["component", "after", "reads"];
        assert_eq!(nearest("componnet", names.into_iter()), Some("component"));
        assert_eq!(nearest("After", names.into_iter()), Some("after"));
        assert_eq!(nearest("zebra", names.into_iter()), None);
        assert_eq!(nearest(&"a".repeat(100_000), names.into_iter()), None);
        assert_eq!(nearest("b", ["a"].into_iter()), None);
    }

    #[test]
    fn advice_names_the_key_or_its_home() {
        assert_eq!(ACTION.advice("depends_on"), "did you mean `after`?");
        assert_eq!(FOLDER.advice("incldue"), "did you mean `include`?");
        assert_eq!(FOLDER.advice("listen"), "`listen` belongs to [server]");
        assert!(FOLDER.advice("zebra").starts_with("the keys here are `kind`, `path`"));
    }

    #[test]
    fn what_others_call_it_leads_to_known_keys() {
        for keys in ALL {
            for (theirs, ours) in keys.meant {
                assert!(keys.known.contains(ours), "{ours} in {}", keys.home);
                assert!(!keys.known.contains(theirs), "{theirs} in {}", keys.home);
            }
        }
    }
}
