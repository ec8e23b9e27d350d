-- Version 6: the event by which an output was visible at its path, so that what a resource saw before is not taken for news. While the output
-- is committed and not published, the largest integer; without a value, no attempt has put the version where it lies.
ALTER TABLE artifacts ADD COLUMN visible INTEGER;
UPDATE artifacts SET visible = 9223372036854775807 WHERE id IN (SELECT became FROM intents);
