-- Messages that have to go out, until they are delivered.
CREATE TABLE outbox (
    id         TEXT PRIMARY KEY,
    channel    TEXT NOT NULL,
    approval   TEXT NOT NULL,
    event      TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    due_ms     BIGINT NOT NULL,
    dead_ms    BIGINT,
    failure    TEXT NOT NULL
);
CREATE INDEX outbox_due ON outbox (channel, dead_ms, due_ms);
