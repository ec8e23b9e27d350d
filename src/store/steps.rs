//! The names of the steps that write, for the points at which a test kills the process.
//!
//! Each step has two: `<step>.in_transaction`, after its statements and before `COMMIT`, and
//! `<step>.committed`, after `COMMIT` and before anyone is told. A crash at the first leaves
//! nothing of the step, a crash at the second all of it.

/// A step that writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// What the store failed to do, if it failed: fits "failed to …".
    pub(super) doing: &'static str,
    /// The point before `COMMIT`.
    pub(super) in_transaction: &'static str,
    /// The point after it.
    pub(super) committed: &'static str,
    /// Its name, for [`crate::base::fault::loses_answer`].
    pub(super) name: &'static str,
}

/// A transaction that writes nothing. No test needs to die in it.
pub(super) const PROBE: Step =
    Step { doing: "take a record", in_transaction: "probe", committed: "probe", name: "probe" };

macro_rules! steps {
    ($($name:ident = $word:literal, $doing:literal;)+) => {
        $(pub(super) const $name: Step = Step {
            doing: $doing,
            in_transaction: concat!($word, ".in_transaction"),
            committed: concat!($word, ".committed"),
            name: $word,
        };)+

        /// Every point of [`crate::base::fault`] in a store, for a crash test to go through.
        pub const FAULT_POINTS: &[&str] =
            &[$(concat!($word, ".in_transaction"), concat!($word, ".committed"),)+];
    };
}

steps! {
    REVISION = "revision", "register the manifest";
    PAUSE = "pause", "pause or resume the pipeline";
    PAUSE_NODE = "pause_node", "pause a resource or an action";
    RESUME_NODE = "resume_node", "resume a resource or an action";
    RECORD = "record", "record what a resource saw";
    CLAIM = "claim", "create a run and claim its inputs";
    ADVANCE = "advance", "take a step of a run";
    START = "start", "start an attempt";
    FINISH = "finish", "end an attempt";
    INTENT = "intent", "commit an attempt's outputs";
    PUBLISHED = "published", "mark outputs as published";
    REFUSED = "refused", "record that an output was refused";
    CANCEL = "cancel", "cancel a run";
    RETRY = "retry", "retry a run";
    DECIDE = "decide", "record a decision about an approval";
    TAKE_OVER = "take_over", "take over unfinished runs";
    STOP = "stop", "record that the host was asked to stop";
    FACTS = "facts", "record metrics, params and tags";
    TICK = "tick", "record a tick";
    MARKS = "marks", "record what triggers have accounted for";
    NOTIFY = "notify", "record notifications";
    REACHABLE = "reachable", "note that a resource can be reached again";
    DELIVERY = "delivery", "record a delivery";
    PRUNE = "prune", "drop old events";
    REMOVE = "remove", "remove old runs";
    CARD = "card", "record a model card";
    REGISTER = "register", "register a version of a model";
    MOVE_ALIAS = "move_alias", "move an alias of a model";
}
