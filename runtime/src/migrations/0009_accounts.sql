-- What accounts need: sessions, friends, and groups that are found by their name.

-- Who has logged in, and where. Of the token only its SHA-256 is here: whoever reads the database, or a copy of it, cannot be
-- anybody with what is in it. A session that was ended is no row any more.
CREATE TABLE sessions (
    token_hash    BLOB    PRIMARY KEY CHECK (length(token_hash) = 32),
    user_id       INTEGER NOT NULL REFERENCES users (id),
    created_at_ms INTEGER NOT NULL,
    -- When it was last used, as far as that was noted: not more often than every hour.
    used_at_ms    INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    -- What the browser or program called itself.
    user_agent    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id, created_at_ms);
CREATE INDEX sessions_by_end ON sessions (expires_at_ms);

-- Whom users have in their lists. One side's entry is no entry of the other's.
CREATE TABLE friends (
    user_id     INTEGER NOT NULL REFERENCES users (id),
    friend_id   INTEGER NOT NULL REFERENCES users (id),
    added_at_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, friend_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX groups_by_name ON groups (name);
