//! The keys of triggers.

use std::sync::LazyLock;

use super::section::Keys;
use crate::manifest::trigger_keys;

pub(in crate::manifest) static TRIGGER: LazyLock<Keys> =
    LazyLock::new(|| Keys { home: "`trigger` of a resource", later: &[], rows: trigger_keys::of_a_resource() });

/// The keys of a table in `all` or `any` of a resource's trigger.
pub(in crate::manifest) static CONDITION: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "`all` and `any` of a resource's trigger",
    later: &[],
    rows: trigger_keys::condition(),
});

pub(in crate::manifest) static PIPELINE_TRIGGER: LazyLock<Keys> =
    LazyLock::new(|| Keys { home: "[triggers.NAME]", later: &[], rows: trigger_keys::of_the_pipeline() });

/// The keys of a table in `all` or `any` of `[triggers.NAME]`.
pub(in crate::manifest) static PIPELINE_CONDITION: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "`all` and `any` of a trigger",
    later: &[],
    rows: trigger_keys::pipeline_condition(),
});

pub(in crate::manifest) static CRON: LazyLock<Keys> =
    LazyLock::new(|| Keys { home: "`cron` of a trigger", later: &[], rows: trigger_keys::cron() });

pub(in crate::manifest) static METRIC: LazyLock<Keys> =
    LazyLock::new(|| Keys { home: "`metric` of a trigger", later: &[], rows: trigger_keys::metric() });

pub(in crate::manifest) static COMPONENT: LazyLock<Keys> =
    LazyLock::new(|| Keys { home: "`component` of a trigger", later: &[], rows: trigger_keys::component() });

pub(in crate::manifest) static COMPONENT_LIMITS: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "`limits` of `component` of a trigger",
    later: &[],
    rows: trigger_keys::component_limits(),
});
