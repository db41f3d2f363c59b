-- Decisions' state: held calls, votes, kept results, revocations. Times are milliseconds since the Unix epoch, by
-- this database's clock where they decide something. Ids compare byte by byte, as in the other engine.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO meta (name, value) VALUES ('revocation_epoch', 0);

CREATE TABLE approvals (
    id           TEXT COLLATE "C" PRIMARY KEY,
    state        TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'executing', 'done', 'failed',
                     'indeterminate', 'denied', 'expired', 'cancelled', 'superseded')),
    version      BIGINT NOT NULL,
    issuer       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    caller       BYTEA NOT NULL,
    requester    TEXT NOT NULL,
    apart        TEXT NOT NULL,
    connection   TEXT NOT NULL,
    function     TEXT NOT NULL,
    effect       TEXT NOT NULL,
    same         BYTEA NOT NULL,
    idempotency  BYTEA,
    call         TEXT NOT NULL,
    terms        TEXT NOT NULL,
    rules        TEXT NOT NULL,
    binding      BYTEA NOT NULL,
    frozen       BYTEA,
    summary      BYTEA,
    bytes        BIGINT NOT NULL,
    created_ms   BIGINT NOT NULL,
    decide_by_ms BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    changed_ms   BIGINT NOT NULL,
    ended_ms     BIGINT,
    instance     TEXT,
    lease        TEXT,
    fence        BIGINT NOT NULL,
    successor    TEXT,
    cause        TEXT NOT NULL
);
-- The same call of the same caller has one open approval, whoever races.
CREATE UNIQUE INDEX approvals_open ON approvals (caller, same)
    WHERE state IN ('pending', 'approved', 'executing');
CREATE INDEX approvals_same ON approvals (caller, same, created_ms);
CREATE INDEX approvals_requester ON approvals (issuer, subject, created_ms);
CREATE INDEX approvals_state ON approvals (state, expires_ms);
CREATE INDEX approvals_created ON approvals (created_ms, id);
-- What other instances changed lately.
CREATE INDEX approvals_changed ON approvals (changed_ms);

-- Append-only, but for `voided_ms`: a voided vote stays readable and does not count.
CREATE TABLE votes (
    id        TEXT COLLATE "C" PRIMARY KEY,
    approval  TEXT NOT NULL REFERENCES approvals (id) ON DELETE CASCADE,
    rule      BYTEA NOT NULL,
    person    TEXT NOT NULL,
    issuer    TEXT NOT NULL,
    subject   TEXT NOT NULL,
    handle    TEXT,
    groups    TEXT NOT NULL,
    verdict   TEXT NOT NULL CHECK (verdict IN ('yes', 'no')),
    reason    BYTEA NOT NULL,
    at_ms     BIGINT NOT NULL,
    mac       BYTEA NOT NULL,
    voided_ms BIGINT
);
CREATE UNIQUE INDEX votes_person ON votes (approval, rule, person) WHERE voided_ms IS NULL;
CREATE INDEX votes_voter ON votes (issuer, subject);

CREATE TABLE results (
    approval   TEXT PRIMARY KEY REFERENCES approvals (id) ON DELETE CASCADE,
    sealed     BYTEA NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX results_expires ON results (expires_ms);

-- What changed and was not yet taken over by the audit log and the notifications of the instance that
-- changed it, or that stands in for it.
CREATE TABLE changes (
    seq      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance TEXT NOT NULL DEFAULT COALESCE(current_setting('callgate.instance', true), ''),
    approval TEXT NOT NULL,
    function TEXT NOT NULL,
    state    TEXT NOT NULL,
    cause    TEXT NOT NULL,
    at_ms    BIGINT NOT NULL
);
CREATE INDEX changes_instance ON changes (instance, seq);

CREATE TABLE revocations (
    id        TEXT COLLATE "C" PRIMARY KEY,
    kind      TEXT NOT NULL,
    issuer    TEXT,
    value     TEXT NOT NULL,
    reach     TEXT NOT NULL CHECK (reach IN ('revoke', 'lock')),
    reason    TEXT NOT NULL,
    by_whom   TEXT NOT NULL,
    at_ms     BIGINT NOT NULL,
    until_ms  BIGINT,
    lifted_ms BIGINT,
    epoch     BIGINT NOT NULL
);
CREATE INDEX revocations_active ON revocations (lifted_ms, at_ms);

-- The instances that are at work, and when each was last seen, by this database's clock. `boot` tells
-- one process from the next under the same name.
CREATE TABLE instances (
    id      TEXT PRIMARY KEY,
    boot    TEXT NOT NULL,
    seen_ms BIGINT NOT NULL
);

-- What all instances must agree on.
CREATE TABLE marks (
    name  TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);

-- Whoever waits on another instance is woken at commit.
CREATE FUNCTION callgate_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'changes' THEN
        PERFORM pg_notify('callgate', NEW.approval);
    ELSE
        PERFORM pg_notify('callgate', 'revocations');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_changes AFTER INSERT ON changes FOR EACH ROW EXECUTE FUNCTION callgate_tell();
CREATE TRIGGER tell_revocations AFTER UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION callgate_tell();
