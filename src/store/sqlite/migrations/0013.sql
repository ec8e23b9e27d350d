-- Who was told that a resource cannot be reached, until it can be reached again.
CREATE TABLE told_outages (
    resource TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (resource, name)
) STRICT, WITHOUT ROWID;
