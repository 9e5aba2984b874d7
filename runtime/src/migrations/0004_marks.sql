-- How far users are with their conversations: places of the last message that has arrived, and of the last one seen.
-- Beside what the heads are read from, so that these need no other table. Marks only grow, as long as a user takes
-- part; of a conversation with oneself there are those of the lower side.

ALTER TABLE conversations ADD COLUMN low_delivered INTEGER NOT NULL DEFAULT 0 CHECK (low_delivered >= 0);
ALTER TABLE conversations ADD COLUMN low_read INTEGER NOT NULL DEFAULT 0 CHECK (low_read >= 0);
ALTER TABLE conversations ADD COLUMN high_delivered INTEGER NOT NULL DEFAULT 0 CHECK (high_delivered >= 0);
ALTER TABLE conversations ADD COLUMN high_read INTEGER NOT NULL DEFAULT 0 CHECK (high_read >= 0);

ALTER TABLE members ADD COLUMN delivered_seq INTEGER NOT NULL DEFAULT 0 CHECK (delivered_seq >= 0);
ALTER TABLE members ADD COLUMN read_seq INTEGER NOT NULL DEFAULT 0 CHECK (read_seq >= 0);
