-- Who runs the server, who is banned, and what a running server has to notice of logins that end.

ALTER TABLE users ADD COLUMN role INTEGER NOT NULL DEFAULT 1 CHECK (role IN (1, 2)); -- 1 user, 2 administrator
-- Banned until then; 0 is not at all. Sessions that had begun when the ban did are none any more, also when it is over.
ALTER TABLE users ADD COLUMN banned_until_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN banned_at_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN ban_reason TEXT NOT NULL DEFAULT '';
-- Signed tokens that were issued before are none any more.
ALTER TABLE users ADD COLUMN tokens_from_ms INTEGER NOT NULL DEFAULT 0;

-- Logins that have ended, so that a server closes their connections, whichever process has ended them.
CREATE TABLE login_log (
    revision   INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id    INTEGER NOT NULL REFERENCES users (id),
    kind       INTEGER NOT NULL, -- 1 a session, 2 all of the user's as it is banned, 3 all of its signed tokens
    token_hash BLOB,
    CHECK ((kind = 1) = (token_hash IS NOT NULL)),
    CHECK (kind IN (1, 2, 3))
) STRICT;

-- A trigger, as sessions end in many ways, and none is to be forgotten. A server that has not looked at the last of so many
-- has long been gone.
CREATE TRIGGER session_ended AFTER DELETE ON sessions BEGIN
    INSERT INTO login_log (user_id, kind, token_hash) VALUES (OLD.user_id, 1, OLD.token_hash);
    DELETE FROM login_log WHERE revision <= (SELECT max(revision) FROM login_log) - 10000;
END;
