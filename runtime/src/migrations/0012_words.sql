-- The words of messages, for people who look for what was said. In `places` are the numbers of the two users, or that of the
-- group, so that somebody's search reads the index of what somebody may read and not everybody's.
--
-- Without a copy of the texts (content) and of their lengths (columnsize), as those of a message are found by its rowid. An entry
-- is taken out by naming what was put in.
CREATE VIRTUAL TABLE words USING fts5(places, content, content='', columnsize=0, tokenize='unicode61 remove_diacritics 2');

INSERT INTO words (rowid, places, content)
SELECT messages.rowid,
       iif(group_id IS NULL, 'u' || user_low || ' u' || user_high, 'g' || group_id),
       substr(content, 1, 4096)
FROM messages CROSS JOIN conversations ON conversations.id = conversation_id
WHERE content_type <= 5 AND content <> '' AND NOT is_recalled
ORDER BY messages.rowid;
