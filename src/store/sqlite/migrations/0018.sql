-- When details of an old run were removed.
ALTER TABLE runs ADD COLUMN trimmed_at INTEGER;
