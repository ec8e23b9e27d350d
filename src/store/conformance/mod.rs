//! The conformance suite, which every kind of store passes.
//!
//! A case is a function over a [`World`]; a kind of store makes a world and names the suite:
//! `conformance!(make_world)`. The cases know the trait and nothing else, so they hold for a store
//! that is a server as well as for a file. (In the library, not in `tests/`, so that the SQLite
//! store can look at the plan of every statement that the suite makes it run.)

mod artifacts;
mod attempts;
mod claims;
mod events;
mod facts;
pub(in crate::store) mod fixtures;
mod lossy;
mod notifications;
mod paging;
mod publish;
mod repeats;
mod runs;
mod snapshots;
mod ticks;

use std::sync::Arc;

use async_trait::async_trait;

use super::MetadataStore;
pub(crate) use lossy::LossyPlace;

/// A place in which a store survives from one host to the next.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    /// Opens the store as a host does that starts.
    async fn open(&self) -> Arc<dyn MetadataStore>;
}

/// A store to test, which can be opened again.
pub(crate) struct World {
    place: Box<dyn Place>,
    store: Option<Arc<dyn MetadataStore>>,
}

impl World {
    /// A world with an empty store.
    pub(crate) async fn new(place: Box<dyn Place>) -> Self {
        let store = Some(place.open().await);
        Self { place, store }
    }

    /// The store.
    fn store(&self) -> &Arc<dyn MetadataStore> {
        self.store.as_ref().unwrap()
    }

    /// Ends the host, and starts another.
    async fn restart(&mut self) {
        self.store = None;
        self.store = Some(self.place.open().await);
    }
}

/// Runs every case: `suite!(run)` calls `run!(name, function)` for each.
macro_rules! suite {
    ($($module:ident: $($case:ident),+;)+) => {
        /// One case, by name.
        pub(crate) async fn run_case(name: &str, world: &mut World) {
            match name {
                $($(concat!(stringify!($module), "::", stringify!($case)) => $module::$case(world).await,)+)+
                other => panic!("no case {other}"),
            }
        }

        /// The names of all cases.
        pub(crate) const CASES: &[&str] = &[$($(concat!(stringify!($module), "::", stringify!($case)),)+)+];

        /// Makes a test of every case, for the worlds that `$world` makes.
        macro_rules! conformance {
            ($world:path) => {$(
                mod $module {$(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        let mut world = $world().await;
                        let name = concat!(stringify!($module), "::", stringify!($case));
                        $crate::store::conformance::run_case(name, &mut world).await;
                    }
                )+}
            )+};
        }
    };
}

suite! {
    artifacts:
        the_same_bytes_are_news_once,
        a_b_a_makes_three_versions,
        what_was_not_claimed_is_superseded_or_deleted,
        a_claim_is_never_touched,
        renames_keep_id_claim_and_version,
        ignored_things_are_known_and_never_wait,
        pending_counts_what_is_new,
        a_deleted_path_that_comes_back_is_news,
        a_batch_is_recorded_once,
        a_cursor_is_that_of_the_last_batch_that_had_one,
        without_a_digest_a_version_is_known_by_its_stamp;
    claims:
        a_claim_takes_the_oldest_and_at_most_what_it_says,
        what_a_run_is_given_stays_claimed_by_another,
        too_few_make_no_run_and_leave_no_trace,
        every_change_of_what_waits_has_a_later_number,
        concurrent_runs_claim_each_artifact_once,
        claims_follow_the_run;
    runs:
        a_run_is_created_once_with_all_that_belongs_to_it,
        a_run_is_created_with_its_first_step,
        steps_change_actions_and_runs_and_say_so,
        an_ended_run_takes_no_step,
        cancelling_stands_until_the_run_ends,
        retry_takes_up_what_did_not_succeed,
        configuration_survives_a_restart;
    attempts:
        tokens_grow_and_old_ones_are_refused,
        an_ended_attempt_is_ended,
        one_attempt_of_an_action_at_a_time,
        a_failed_step_leaves_nothing,
        taking_over_gives_new_tokens_to_what_is_unfinished,
        what_the_host_saw_is_on_record,
        the_logs_of_unfinished_runs_are_known,
        an_artifact_knows_who_used_it;
    publish:
        outputs_exist_from_the_commit_point_on,
        a_taken_path_is_refused_and_nothing_has_happened,
        the_same_bytes_make_no_new_version,
        publishing_is_idempotent_and_fenced,
        recovery_finds_what_was_committed,
        late_observations_do_not_undo_an_output,
        an_output_with_the_same_bytes_is_not_undone_either,
        retrigger_makes_outputs_new_once_they_are_visible,
        unique_tags_move;
    repeats:
        a_repeat_gets_the_first_answer_and_changes_nothing,
        a_repeat_is_recognised_after_someone_else_has_written,
        an_older_host_gets_no_token_by_repeating;
    snapshots:
        a_snapshot_is_what_was_there_when_the_run_began,
        outputs_of_the_given_actions_are_seen,
        pages_prefixes_and_paths;
    facts:
        facts_are_listed_newest_first_and_say_whether_they_count,
        the_last_value_counts,
        metrics_come_back_bit_by_bit,
        facts_are_fenced;
    ticks:
        the_same_evaluation_is_recorded_once,
        every_fired_tick_is_recorded;
    events:
        events_are_dense_in_order_and_wake_who_waits,
        failed_work_leaves_no_gap,
        pruning_keeps_the_newest;
    notifications:
        each_is_recorded_once_with_how_far_events_were_examined,
        a_delivery_is_on_record_and_its_end_stands,
        the_last_of_a_cause_is_found_and_pages_are_complete;
    paging:
        pages_of_every_list_are_complete_and_newest_first,
        pages_by_path_and_oldest_first_are_complete,
        items_that_come_meanwhile_move_nothing,
        foreign_cursors_are_refused;
}
pub(crate) use conformance;
