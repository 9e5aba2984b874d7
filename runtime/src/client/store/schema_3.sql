-- Version 3: how far the application has taken what it was told of each conversation. Epoch 0: that its log is gone.
CREATE TABLE taken (
    is_group INTEGER NOT NULL,
    peer TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (is_group, peer)
) STRICT, WITHOUT ROWID;
-- Nobody knows what was taken before.
INSERT INTO taken SELECT is_group, peer, epoch, seq FROM logs;
