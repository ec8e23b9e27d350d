-- Version 2: requests that attempts made over the network. An attempt without any pays nothing for it.
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY,
    attempt INTEGER NOT NULL,
    method TEXT NOT NULL,
    scheme TEXT NOT NULL,
    authority TEXT NOT NULL,
    path TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    bytes_sent INTEGER NOT NULL,
    bytes_received INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    error TEXT
) STRICT;
CREATE INDEX requests_attempt ON requests (attempt, seq);
