-- Version 3: the ids of the last writes, by which a repeated write is recognised. Each stands in a row that the write changes anyway, so
-- that remembering it costs no page.

-- The last batch of observations of a resource, and how many artifacts it made `new`.
ALTER TABLE waiting ADD COLUMN batch BLOB;
ALTER TABLE waiting ADD COLUMN batch_new INTEGER NOT NULL DEFAULT 0;
-- The last step of a run that no attempt's end caused, and the last retry.
ALTER TABLE runs ADD COLUMN step BLOB;
ALTER TABLE runs ADD COLUMN retry BLOB;
-- The last facts that an attempt recorded.
ALTER TABLE attempts ADD COLUMN facts BLOB;
