-- Ids that ascend with time (docs/protocol.md advises them) grow an index at its end, if it begins with them: a commit
-- then writes few pages of it. In one that began with the sender, every message had a page of its own to write.
--
-- Without foreign keys, which cost two searches a message: the store's thread takes the numbers of senders and
-- conversations from their tables, and nothing ever deletes from these.

CREATE TABLE messages_of_0008 (
    conversation_id INTEGER NOT NULL,
    seq             INTEGER NOT NULL CHECK (seq >= 1),
    sender_id       INTEGER NOT NULL,
    message_id      BLOB    NOT NULL CHECK (length(message_id) = 16),
    content_type    INTEGER NOT NULL,
    content         TEXT    NOT NULL,
    sender_name     TEXT    NOT NULL,
    url             TEXT    NOT NULL,
    file_suffix     TEXT    NOT NULL,
    stored_at_ms    INTEGER NOT NULL,
    -- What an entry of content type 23 says: a `switchboard.v1.GroupChange`.
    change          BLOB,
    -- As 0007 has them.
    target_seq      INTEGER CHECK (target_seq >= 1),
    changed_seq     INTEGER NOT NULL DEFAULT 0 CHECK (changed_seq >= 0),
    is_recalled     INTEGER NOT NULL DEFAULT 0 CHECK (is_recalled IN (0, 1))
) STRICT;

-- In the order in which they were appended, so that this reads and writes from the beginning to the end.
INSERT INTO messages_of_0008 (conversation_id, seq, sender_id, message_id, content_type, content, sender_name, url,
                              file_suffix, stored_at_ms, change, target_seq, changed_seq, is_recalled)
SELECT conversation_id, seq, sender_id, message_id, content_type, content, sender_name, url, file_suffix, stored_at_ms,
       change, target_seq, changed_seq, is_recalled
FROM messages ORDER BY rowid;

DROP TABLE messages;
ALTER TABLE messages_of_0008 RENAME TO messages;

-- Afterwards: they are sorted on the way.
CREATE UNIQUE INDEX messages_by_place ON messages (conversation_id, seq);
CREATE UNIQUE INDEX messages_by_id ON messages (message_id, sender_id);
