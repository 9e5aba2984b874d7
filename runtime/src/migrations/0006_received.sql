-- How far conversations have arrived at users' classic clients, as far as that has moved since the user first came with
-- one. In the order of the users, who are asked about one at a time.
CREATE TABLE received (
    user_id         INTEGER NOT NULL REFERENCES users (id),
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    seq             INTEGER NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (user_id, conversation_id)
) STRICT, WITHOUT ROWID;

-- Whether the user has come with a classic client: only what was stored after that has to arrive.
ALTER TABLE users ADD COLUMN is_classic INTEGER NOT NULL DEFAULT 0 CHECK (is_classic IN (0, 1));
