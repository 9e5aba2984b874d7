-- When something was last put into each conversation, so that a user's are listed from the newest on. Without an index in that order:
-- it would be written with every message, and who lists conversations reads no more than each session does that connects.
ALTER TABLE conversations ADD COLUMN last_at_ms INTEGER NOT NULL DEFAULT 0;

UPDATE conversations SET last_at_ms = coalesce(
    (SELECT stored_at_ms FROM messages WHERE conversation_id = conversations.id ORDER BY seq DESC LIMIT 1), 0);
