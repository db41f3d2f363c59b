-- Requests of people that are done once for their key: `boot` is the process that does it, NULL when nobody knows how it
-- ended; `answer` is sealed, and there when it was done.
CREATE TABLE once (
    place    BYTEA PRIMARY KEY,
    issuer   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    request  BYTEA NOT NULL,
    boot     TEXT,
    answer   BYTEA,
    begun_ms BIGINT NOT NULL
);
CREATE INDEX once_person ON once (issuer, subject, begun_ms);
CREATE INDEX once_begun ON once (begun_ms);
