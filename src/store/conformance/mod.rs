//! The conformance suite, which every kind of store passes.
//!
//! A case is a function over a [`World`]; a kind of store makes a world and names the suite:
//! `conformance!(make_world)`. The cases know the trait and nothing else, so they hold for a store
//! that is a server as well as for a file. (In the library, not in `tests/`, so that the SQLite
//! store can look at the plan of every statement that the suite makes it run.)

mod approvals;
mod artifacts;
mod attempts;
pub(in crate::store) mod cache;
mod claims;
mod events;
mod facts;
mod filters;
pub(in crate::store) mod fixtures;
mod lineage;
mod lossy;
mod models;
mod notifications;
mod paging;
mod pauses;
mod publish;
mod repeats;
mod retention;
mod runs;
mod snapshots;
mod ticks;

use std::sync::Arc;

use async_trait::async_trait;

use super::MetadataStore;
pub(crate) use lossy::LossyStoreFactory;

/// Opens one store repeatedly, as hosts that run one after the other do.
#[async_trait]
pub(crate) trait StoreFactory: Send + Sync {
    /// Opens the store as a starting host does.
    async fn open(&self) -> Arc<dyn MetadataStore>;
}

/// A store to test, which can be opened again.
pub(crate) struct World {
    factory: Box<dyn StoreFactory>,
    store: Option<Arc<dyn MetadataStore>>,
}

impl World {
    /// A world with an empty store.
    pub(crate) async fn new(factory: Box<dyn StoreFactory>) -> Self {
        let store = Some(factory.open().await);
        Self { factory, store }
    }

    /// The store.
    fn store(&self) -> &Arc<dyn MetadataStore> {
        self.store.as_ref().unwrap()
    }

    /// Ends the host, and starts another.
    pub(crate) async fn restart(&mut self) {
        self.store = None;
        self.store = Some(self.factory.open().await);
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
        equal_bytes_make_one_new_version,
        a_b_a_makes_three_versions,
        unclaimed_versions_are_superseded_or_deleted,
        claimed_versions_are_never_changed,
        renames_keep_id_claim_and_version,
        ignored_entries_are_recorded_and_never_pending,
        pending_counts_new_versions,
        a_deleted_path_that_comes_back_is_a_new_version,
        long_paths_are_told_apart_and_in_order,
        a_batch_is_recorded_once,
        the_cursor_of_the_last_batch_with_one_is_kept,
        without_a_digest_a_version_is_identified_by_its_stamp;
    claims:
        a_claim_takes_the_oldest_artifacts_up_to_its_maximum,
        given_inputs_stay_claimed_by_their_first_run,
        a_claim_of_named_artifacts_takes_those_that_are_still_new,
        too_few_artifacts_create_no_run,
        every_change_of_the_pending_count_has_a_later_number,
        concurrent_runs_claim_each_artifact_once,
        claims_change_with_the_state_of_the_run,
        what_is_new_and_what_unfinished_runs_read_and_wrote_is_needed;
    runs:
        a_run_is_created_once_with_its_actions_and_inputs,
        a_run_is_created_with_its_first_step,
        steps_change_actions_and_runs_and_emit_events,
        an_ended_run_refuses_steps,
        cancelling_remains_until_the_run_ends,
        retry_restarts_actions_that_did_not_succeed,
        retry_from_an_action_restarts_what_has_succeeded,
        configuration_survives_a_restart;
    attempts:
        fencing_tokens_increase_and_old_ones_are_refused,
        an_ended_attempt_cannot_change,
        an_action_has_one_running_attempt,
        a_failed_step_leaves_nothing,
        recovery_gives_new_tokens_to_unfinished_attempts,
        attempts_of_a_host_that_was_asked_to_stop_are_marked,
        accesses_and_usage_are_recorded,
        the_logs_of_unfinished_runs_are_listed,
        uses_of_an_artifact_are_listed,
        accesses_of_a_resource_are_summed_for_each_attempt,
        attempts_of_an_action_are_listed_newest_run_first;
    cache:
        attempts_that_have_succeeded_are_remembered,
        an_attempt_takes_over_the_result_of_another,
        a_result_whose_outputs_are_not_in_their_places_is_refused,
        what_an_attempt_was_told_is_on_record_if_it_has_succeeded;
    lineage:
        lineage_leads_over_runs_in_both_directions;
    approvals:
        an_action_waits_on_record_until_it_is_decided,
        the_first_decision_stands,
        a_cancelled_run_waits_no_longer_and_a_retried_one_asks_again,
        what_waits_is_listed_in_pages;
    publish:
        outputs_exist_after_the_commit_point,
        an_existing_path_is_refused_without_any_change,
        equal_bytes_make_no_new_version,
        publishing_is_idempotent_and_fenced,
        an_output_that_is_not_taken_fails_its_attempt_and_holds_no_path,
        what_was_taken_stays_and_what_would_have_been_replaced_is_back,
        recovery_finds_committed_outputs,
        late_observations_do_not_undo_an_output,
        late_observations_do_not_undo_an_output_with_equal_bytes,
        retrigger_makes_outputs_new_once_they_are_visible,
        unique_tags_move;
    repeats:
        a_repeated_write_returns_the_first_result_and_changes_nothing,
        a_repeated_write_is_recognised_after_other_writes,
        an_older_host_gets_no_token_from_a_repeated_write;
    snapshots:
        a_snapshot_shows_the_artifacts_at_the_start_of_the_run,
        a_snapshot_includes_outputs_of_the_given_actions,
        snapshots_are_filtered_by_prefix_and_path_and_paged;
    facts:
        facts_are_listed_newest_first_with_the_state_of_their_attempt,
        the_last_value_replaces_earlier_ones,
        metrics_round_trip_exactly,
        facts_are_fenced;
    filters:
        runs_are_found_by_each_filter,
        filters_and_orders_are_combined,
        what_changes_is_found_as_it_is_now,
        a_cursor_belongs_to_one_order;
    ticks:
        an_unchanged_evaluation_is_recorded_once,
        every_fired_tick_is_recorded,
        conditions_come_back_and_a_change_in_one_is_news,
        marks_are_set_with_the_run_that_they_are_about,
        ended_runs_are_in_the_order_of_their_ends;
    events:
        events_are_numbered_without_gaps_and_wake_subscribers,
        failed_writes_leave_no_gap,
        pruning_keeps_the_newest_events;
    retention:
        old_runs_are_removed_with_all_that_belongs_to_them,
        a_run_stays_without_details_while_its_lineage_is_needed,
        a_result_that_was_taken_outlives_the_run_that_made_it,
        what_keeps_a_run_keeps_it,
        a_run_that_was_retried_since_it_was_listed_stays,
        many_details_are_removed_in_several_transactions;
    models:
        versions_are_counted_for_each_model_and_registered_once,
        outputs_become_versions_when_they_are_committed,
        an_alias_is_moved_and_rolled_back_with_its_tag,
        an_action_moves_an_alias_by_a_unique_tag,
        what_cannot_be_registered_or_promoted_is_refused,
        a_model_has_a_card,
        models_versions_and_moves_are_listed_in_pages,
        what_a_version_needs_is_kept;
    notifications:
        each_is_recorded_once_with_how_far_events_were_examined,
        a_delivery_is_on_record_and_its_end_stands,
        who_was_told_about_an_outage_is_on_record_until_it_is_over,
        the_last_of_a_cause_is_found_and_pages_are_complete;
    pauses:
        a_paused_node_stays_paused_with_its_reason_until_it_is_resumed,
        a_pause_and_its_event_are_recorded_once;
    paging:
        pages_of_every_list_are_complete_and_newest_first,
        pages_by_path_and_oldest_first_are_complete,
        items_added_meanwhile_do_not_shift_pages,
        foreign_cursors_are_refused;
}
pub(crate) use conformance;
