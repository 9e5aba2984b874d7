-- Files that users have sent, wherever they are kept: whose each is, and when to see whether anything refers to it. A message
-- refers to the file that it names, a user to its picture: that is read from these, and kept nowhere else.
CREATE TABLE files (
    name          TEXT    PRIMARY KEY,
    -- None: it is known to nobody any more who has sent it.
    owner_id      INTEGER REFERENCES users (id),
    bytes         INTEGER NOT NULL CHECK (bytes >= 0),
    kind          INTEGER NOT NULL CHECK (kind BETWEEN 2 AND 5), -- 2 file, 3 image, 4 audio, 5 video
    created_at_ms INTEGER NOT NULL,
    -- When to see whether anything refers to it; none: something does, as far as is known.
    check_at_ms   INTEGER
) STRICT, WITHOUT ROWID;

-- What a user's files have together is read from the index alone.
CREATE INDEX files_by_owner ON files (owner_id, bytes);
CREATE INDEX files_to_check ON files (check_at_ms) WHERE check_at_ms IS NOT NULL;

CREATE INDEX messages_by_file ON messages (url) WHERE url <> '';
CREATE INDEX users_by_avatar ON users (avatar) WHERE avatar <> '';
