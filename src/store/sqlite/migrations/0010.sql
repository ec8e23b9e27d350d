-- Notifications, with the state of their delivery.
CREATE TABLE notifications (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    channel TEXT NOT NULL,
    cause TEXT NOT NULL,
    event INTEGER,
    run_id BLOB,
    run_number INTEGER,
    resource TEXT,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT,
    created_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE INDEX notifications_name ON notifications (name, seq);
CREATE INDEX notifications_cause ON notifications (name, cause, seq);
CREATE INDEX notifications_waiting ON notifications (name, seq) WHERE state = 'waiting';

-- The last event that was examined for notifications; none if there never was a receiver.
ALTER TABLE meta ADD COLUMN notified INTEGER;
