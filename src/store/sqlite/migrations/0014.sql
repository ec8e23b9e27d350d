-- Finds the last notification about one resource.
DROP INDEX notifications_cause;
CREATE INDEX notifications_cause ON notifications (name, cause, resource, seq);
