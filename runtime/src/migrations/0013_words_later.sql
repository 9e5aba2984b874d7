-- Messages come into the index of words a little after they are stored, many at a time: up to this rowid they are in it.
ALTER TABLE store_state ADD COLUMN indexed_to INTEGER NOT NULL DEFAULT 0;

UPDATE store_state SET indexed_to = (SELECT coalesce(max(rowid), 0) FROM messages);
