-- The epoch of the last host that was asked to stop, and the unfinished attempts of such hosts: the next host hands these back.
ALTER TABLE meta ADD COLUMN stopping INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
