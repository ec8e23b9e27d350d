-- What an attempt was told by its clocks, and the seed of its random numbers, as JSON; none if it
-- has asked for neither.
ALTER TABLE attempts ADD COLUMN recording text COLLATE "C";
