-- Version 2: what groups are called, as far as that was told.
CREATE TABLE group_names (
    peer TEXT PRIMARY KEY,
    name TEXT NOT NULL
) STRICT, WITHOUT ROWID;
