-- Files that are being removed, as nothing refers to them: from then on nothing may. The row goes once the file has gone.
ALTER TABLE files ADD COLUMN is_going INTEGER NOT NULL DEFAULT 0 CHECK (is_going IN (0, 1));
