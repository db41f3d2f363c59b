-- Yeses that stand for later calls of one caller to one function, within bounds.
CREATE TABLE grants (
    id            TEXT COLLATE "C" PRIMARY KEY,
    approval      TEXT NOT NULL,
    rule          BYTEA NOT NULL,
    person        TEXT NOT NULL,
    issuer        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    handle        TEXT,
    groups        TEXT NOT NULL,
    voter         BYTEA NOT NULL,
    caller        BYTEA NOT NULL,
    asker_issuer  TEXT NOT NULL,
    asker_subject TEXT NOT NULL,
    function      TEXT NOT NULL,
    pattern       BYTEA NOT NULL,
    uses_max      BIGINT NOT NULL,
    used          BIGINT NOT NULL,
    at_ms         BIGINT NOT NULL,
    until_ms      BIGINT NOT NULL,
    ended_ms      BIGINT,
    ended_by      TEXT,
    mac           BYTEA NOT NULL
);
CREATE INDEX grants_caller ON grants (caller, function, until_ms);
CREATE INDEX grants_voter ON grants (issuer, subject);

-- The grant that a vote comes from, when nobody cast it.
ALTER TABLE votes ADD COLUMN grant_id TEXT;
