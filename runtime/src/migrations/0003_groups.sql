-- Comes after 0004.
-- Changes of groups are entries of their logs. Members have roles, may be muted, and who has left still reads what
-- was said until then.

CREATE TABLE members_of_0003 (
    group_id       INTEGER NOT NULL REFERENCES groups (id),
    user_id        INTEGER NOT NULL REFERENCES users (id),
    role           INTEGER NOT NULL CHECK (role IN (1, 2, 3)), -- 1 member, 2 admin, 3 owner
    joined_at_ms   INTEGER NOT NULL,
    -- Reads from this place on: that of the entry of its joining.
    first_seq      INTEGER NOT NULL CHECK (first_seq >= 1),
    -- The place of the entry of its leaving; none of who is a member now.
    last_seq       INTEGER,
    -- May not write before; outlives a leaving, or to leave and to join would end it.
    muted_until_ms INTEGER NOT NULL DEFAULT 0,
    -- As 0004 has them.
    delivered_seq  INTEGER NOT NULL DEFAULT 0 CHECK (delivered_seq >= 0),
    read_seq       INTEGER NOT NULL DEFAULT 0 CHECK (read_seq >= 0),
    PRIMARY KEY (group_id, user_id)
) STRICT, WITHOUT ROWID;

INSERT INTO members_of_0003 (group_id, user_id, role, joined_at_ms, first_seq, delivered_seq, read_seq)
SELECT group_id, user_id, CASE role WHEN 2 THEN 3 ELSE 1 END, joined_at_ms, first_seq, delivered_seq, read_seq
FROM members;

-- A group with members has an owner.
UPDATE members_of_0003 SET role = 3
WHERE NOT EXISTS (SELECT 1 FROM members AS owners WHERE owners.group_id = members_of_0003.group_id AND owners.role = 2)
    AND user_id = (SELECT user_id FROM members AS oldest WHERE oldest.group_id = members_of_0003.group_id
                   ORDER BY joined_at_ms, user_id LIMIT 1);

DROP TABLE members;
ALTER TABLE members_of_0003 RENAME TO members;
CREATE INDEX members_by_user ON members (user_id, group_id);

-- Groups that are there already had nobody join but by the operator's hand.
ALTER TABLE groups ADD COLUMN invite_only INTEGER NOT NULL DEFAULT 1 CHECK (invite_only IN (0, 1));

-- What an entry of content type 23 says: a `switchboard.v1.GroupChange`.
ALTER TABLE messages ADD COLUMN change BLOB;
