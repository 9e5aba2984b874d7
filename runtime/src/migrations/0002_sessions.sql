-- What the session protocol needs: epochs as it has them, what a member may read, ways to find a user's
-- conversations, and a count that shows when the database has become an older one.

-- A random number of 64 bits, never 0 (the wire's word for "nothing was said"). The one that SQLite wants as
-- the default for rows that are there already is never seen: they get theirs below.
ALTER TABLE conversations DROP COLUMN epoch;
ALTER TABLE conversations ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1 CHECK (epoch <> 0);
UPDATE conversations SET epoch = coalesce(nullif(random(), 0), 1);

-- A member reads from this place on; those who are members already, everything.
ALTER TABLE members ADD COLUMN first_seq INTEGER NOT NULL DEFAULT 1 CHECK (first_seq >= 1);

-- A user's conversations in the order of their numbers: an index ends with the row's id.
CREATE INDEX conversations_by_low ON conversations (user_low) WHERE user_low IS NOT NULL;
CREATE INDEX conversations_by_high ON conversations (user_high) WHERE user_high IS NOT NULL;

-- How many commits there were; the mark beside the database follows it.
CREATE TABLE store_state (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    commits INTEGER NOT NULL CHECK (commits >= 0)
) STRICT;

INSERT INTO store_state (id, commits) VALUES (1, 0);
