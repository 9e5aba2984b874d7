-- Users who were removed: their row has nothing of them but the id, under which what they have said to others stays.
ALTER TABLE users ADD COLUMN removed_at_ms INTEGER;
