//! Notifications and their deliveries.

use super::{Cell, Column, Table, ago, styles};
use crate::base::Timestamp;
use crate::model::{Notification, NotificationState};

/// Formats a list of notifications.
pub(crate) fn notification_list(items: &[Notification], now: Timestamp, width: usize) -> String {
    let mut table = Table::new(&[
        ("TO", Column::Word),
        ("BY", Column::Word),
        ("MESSAGE", Column::Text),
        ("STATE", Column::Word),
        ("TRIES", Column::Number),
        ("WHEN", Column::Word),
        ("ERROR", Column::Prose),
    ]);
    for it in items {
        let style = match it.state {
            NotificationState::Delivered => styles::PLAIN,
            NotificationState::Waiting => styles::FAINT,
            NotificationState::GivenUp => styles::BAD,
        };
        table.row(vec![
            Cell::new(&it.name),
            Cell::new(&it.channel),
            Cell::new(&it.title),
            Cell::new(it.state.as_str()).style(style),
            Cell::new(it.attempts.to_string()),
            Cell::new(ago(it.created_at, now)),
            Cell::new(it.error.as_deref().unwrap_or_default()),
        ]);
    }
    table.render(width)
}
