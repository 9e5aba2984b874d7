-- When a user was last here; none if that was never noted.
ALTER TABLE users ADD COLUMN seen_at_ms INTEGER;
