-- Edits and recalls are entries of the log; the message that they are about is kept as they have left it, and what they
-- have replaced beside it.

-- Of an edit or a recall, the place of the message that it is about.
ALTER TABLE messages ADD COLUMN target_seq INTEGER CHECK (target_seq >= 1);
-- Of a message, the place of the last edit or recall of it; 0: none.
ALTER TABLE messages ADD COLUMN changed_seq INTEGER NOT NULL DEFAULT 0 CHECK (changed_seq >= 0);
ALTER TABLE messages ADD COLUMN is_recalled INTEGER NOT NULL DEFAULT 0 CHECK (is_recalled IN (0, 1));

-- What the message at `target_seq` said before the entry at `seq`.
CREATE TABLE revisions (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    target_seq      INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    content         TEXT    NOT NULL,
    url             TEXT    NOT NULL,
    PRIMARY KEY (conversation_id, target_seq, seq)
) STRICT, WITHOUT ROWID;
