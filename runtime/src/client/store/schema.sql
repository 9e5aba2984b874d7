-- A client's store, version 1; `schema_2.sql` and `schema_3.sql` have what later versions add. One user's device at one server.
-- Epochs are 64 bits without a sign, kept as the signed number of the same bits.
CREATE TABLE owner (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    user TEXT NOT NULL,
    device_id BLOB NOT NULL
) STRICT;

-- How far each conversation was received. `is_group` and `peer` name the conversation.
CREATE TABLE logs (
    is_group INTEGER NOT NULL,
    peer TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    -- Ascends with every move of a cursor.
    moved INTEGER NOT NULL,
    -- Marks: places up to which messages have arrived at, and were read by, this user and the other one.
    own_delivered INTEGER NOT NULL DEFAULT 0,
    own_read INTEGER NOT NULL DEFAULT 0,
    peer_delivered INTEGER NOT NULL DEFAULT 0,
    peer_read INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (is_group, peer)
) STRICT, WITHOUT ROWID;

CREATE INDEX logs_by_move ON logs (moved);

CREATE TABLE messages (
    is_group INTEGER NOT NULL,
    peer TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id BLOB NOT NULL,
    sender TEXT NOT NULL,
    kind INTEGER NOT NULL,
    text TEXT NOT NULL,
    file TEXT NOT NULL,
    -- What the entry is; empty if it is a message.
    subject BLOB NOT NULL,
    stored_at_ms INTEGER NOT NULL,
    own INTEGER NOT NULL,
    -- Of a message: place of the last edit or recall that was known when it was read.
    changed_seq INTEGER NOT NULL,
    is_recalled INTEGER NOT NULL,
    -- Of an edit or a recall: place of the message that it is about.
    target_seq INTEGER,
    PRIMARY KEY (is_group, peer, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX changes_by_target ON messages (is_group, peer, target_seq) WHERE target_seq IS NOT NULL;

-- Messages without a fate, in the order in which they were submitted.
CREATE TABLE submits (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    is_group INTEGER NOT NULL,
    peer TEXT NOT NULL,
    kind INTEGER NOT NULL,
    text TEXT NOT NULL,
    file TEXT NOT NULL,
    subject BLOB NOT NULL
) STRICT;
