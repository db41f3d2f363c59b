-- Messages that have to go out, until they are delivered.
CREATE TABLE outbox (
    id         TEXT COLLATE "C" PRIMARY KEY,
    channel    TEXT NOT NULL,
    approval   TEXT NOT NULL,
    event      TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    due_ms     BIGINT NOT NULL,
    dead_ms    BIGINT,
    failure    TEXT NOT NULL,
    -- Who sends it.
    instance   TEXT NOT NULL DEFAULT COALESCE(current_setting('callgate.instance', true), '')
);
CREATE INDEX outbox_due ON outbox (instance, channel, dead_ms, due_ms);
