-- Users and groups have a number of their own beside their id: numbers make small keys.

CREATE TABLE users (
    id            INTEGER PRIMARY KEY,
    uuid          TEXT    NOT NULL UNIQUE,
    -- None while somebody else has the name that the user would have got.
    username      TEXT    UNIQUE,
    nickname      TEXT    NOT NULL DEFAULT '',
    email         TEXT    NOT NULL DEFAULT '',
    avatar        TEXT    NOT NULL DEFAULT '',
    -- None: nobody can log in with a password.
    password_hash TEXT,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE groups (
    id            INTEGER PRIMARY KEY,
    uuid          TEXT    NOT NULL UNIQUE,
    name          TEXT    NOT NULL,
    notice        TEXT    NOT NULL DEFAULT '',
    owner_id      INTEGER NOT NULL REFERENCES users (id),
    created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE members (
    group_id     INTEGER NOT NULL REFERENCES groups (id),
    user_id      INTEGER NOT NULL REFERENCES users (id),
    role         INTEGER NOT NULL CHECK (role IN (1, 2)), -- 1 member, 2 owner
    joined_at_ms INTEGER NOT NULL,
    PRIMARY KEY (group_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_user ON members (user_id, group_id);

-- Users and groups have columns of their own, so that a group's messages never show up in a direct
-- conversation, whatever its id is.
CREATE TABLE conversations (
    id            INTEGER PRIMARY KEY,
    kind          INTEGER NOT NULL, -- 1 direct, 2 group
    user_low      INTEGER REFERENCES users (id),
    user_high     INTEGER REFERENCES users (id),
    group_id      INTEGER UNIQUE REFERENCES groups (id),
    head_seq      INTEGER NOT NULL CHECK (head_seq >= 0),
    -- Tells a log from one that took its place, for example after a backup was restored.
    epoch         BLOB    NOT NULL CHECK (length(epoch) = 16),
    created_at_ms INTEGER NOT NULL,
    UNIQUE (user_low, user_high),
    CHECK (
        (kind = 1 AND user_low IS NOT NULL AND user_high IS NOT NULL AND user_low <= user_high
             AND group_id IS NULL)
        OR (kind = 2 AND user_low IS NULL AND user_high IS NULL AND group_id IS NOT NULL)
    )
) STRICT;

-- A table with rowids: messages are appended to it in the order of their commits, whichever conversation
-- they belong to. Kept in the order of its key, it would have every message dirty a page of its own.
CREATE TABLE messages (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    seq             INTEGER NOT NULL CHECK (seq >= 1),
    sender_id       INTEGER NOT NULL REFERENCES users (id),
    message_id      BLOB    NOT NULL CHECK (length(message_id) = 16),
    content_type    INTEGER NOT NULL,
    content         TEXT    NOT NULL,
    sender_name     TEXT    NOT NULL,
    url             TEXT    NOT NULL,
    file_suffix     TEXT    NOT NULL,
    stored_at_ms    INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, seq),
    UNIQUE (sender_id, message_id)
) STRICT;

-- Every change of a membership or a picture, written by the transaction that makes it. Its last revision
-- numbers the state of the directory; AUTOINCREMENT, so that none is ever used twice.
CREATE TABLE directory_log (
    revision      INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id       INTEGER NOT NULL REFERENCES users (id),
    kind          INTEGER NOT NULL, -- 1 joined, 2 left, 3 avatar
    group_id      INTEGER REFERENCES groups (id),
    avatar        TEXT,
    changed_at_ms INTEGER NOT NULL,
    CHECK (
        (kind IN (1, 2) AND group_id IS NOT NULL AND avatar IS NULL)
        OR (kind = 3 AND group_id IS NULL AND avatar IS NOT NULL)
    )
) STRICT;

-- What the store writes after a failure to see whether it can write again.
CREATE TABLE write_probe (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    filler BLOB    NOT NULL
) STRICT;
