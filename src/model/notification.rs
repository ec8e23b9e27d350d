//! Notifications: messages to people and programs about what happened.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::string_enum;
use crate::base::{NotificationId, RunId, Timestamp};

string_enum! {
    /// Why a notification is sent.
    NotifyCause {
        /// A run failed.
        RunFailed = "run_failed",
        /// A run succeeded.
        RunSucceeded = "run_succeeded",
        /// An action waits for approval.
        AwaitingApproval = "awaiting_approval",
        /// No watched resource has received a new artifact for some time, or one of them has not.
        NothingNew = "nothing_new",
        /// A resource that is watched, or that outputs are published to, cannot be reached.
        ResourceUnreachable = "resource_unreachable",
    }
}

string_enum! {
    /// The state of a delivery.
    NotificationState {
        /// Not delivered yet: it is sent, or sent again.
        Waiting = "waiting",
        /// The receiver took it.
        Delivered = "delivered",
        /// It is not sent any more; `error` says why.
        GivenUp = "given_up",
    }
}

/// One message to one receiver, and the state of its delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notification {
    /// Its id. Receivers recognise a repeated delivery by it.
    pub id: NotificationId,
    /// The receiver: NAME of `[notify.NAME]`.
    pub name: String,
    /// The kind of the receiver: `webhook`, `email` or `slack`.
    pub channel: String,
    /// Why it is sent.
    pub cause: NotifyCause,
    /// The event that caused it, if one did.
    #[schema(required)]
    pub event: Option<u64>,
    /// The run that it is about.
    #[schema(required)]
    pub run_id: Option<RunId>,
    /// The number of that run.
    #[schema(required)]
    pub run_number: Option<u64>,
    /// The resource that it is about.
    #[schema(required)]
    pub resource: Option<String>,
    /// What happened, in one line.
    pub title: String,
    /// The message, in several lines.
    pub text: String,
    /// The state of the delivery.
    pub state: NotificationState,
    /// How often it was sent, with or without success.
    pub attempts: u32,
    /// Why the last attempt failed.
    #[schema(required)]
    pub error: Option<String>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When it was delivered or given up.
    #[schema(required)]
    pub ended_at: Option<Timestamp>,
}

/// The result of an attempt to deliver a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The state after the attempt.
    pub state: NotificationState,
    /// How often it was sent by now.
    pub attempts: u32,
    /// Why the attempt failed.
    pub error: Option<String>,
}
