-- Decisions' state: held calls, votes, kept results, revocations. Times are milliseconds since the Unix epoch.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO meta (name, value) VALUES ('revocation_epoch', 0);

CREATE TABLE approvals (
    id           TEXT PRIMARY KEY,
    state        TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'executing', 'done', 'failed',
                     'indeterminate', 'denied', 'expired', 'cancelled', 'superseded')),
    version      BIGINT NOT NULL,
    issuer       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    caller       BLOB NOT NULL,
    requester    TEXT NOT NULL,
    apart        TEXT NOT NULL,
    connection   TEXT NOT NULL,
    function     TEXT NOT NULL,
    effect       TEXT NOT NULL,
    same         BLOB NOT NULL,
    idempotency  BLOB,
    call         TEXT NOT NULL,
    terms        TEXT NOT NULL,
    rules        TEXT NOT NULL,
    binding      BLOB NOT NULL,
    frozen       BLOB,
    summary      BLOB,
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

-- Append-only, but for `voided_ms`: a voided vote stays readable and does not count.
CREATE TABLE votes (
    id        TEXT PRIMARY KEY,
    approval  TEXT NOT NULL REFERENCES approvals (id) ON DELETE CASCADE,
    rule      BLOB NOT NULL,
    person    TEXT NOT NULL,
    issuer    TEXT NOT NULL,
    subject   TEXT NOT NULL,
    handle    TEXT,
    groups    TEXT NOT NULL,
    verdict   TEXT NOT NULL CHECK (verdict IN ('yes', 'no')),
    reason    BLOB NOT NULL,
    at_ms     BIGINT NOT NULL,
    mac       BLOB NOT NULL,
    voided_ms BIGINT
);
CREATE UNIQUE INDEX votes_person ON votes (approval, rule, person) WHERE voided_ms IS NULL;
CREATE INDEX votes_voter ON votes (issuer, subject);

CREATE TABLE results (
    approval   TEXT PRIMARY KEY REFERENCES approvals (id) ON DELETE CASCADE,
    sealed     BLOB NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX results_expires ON results (expires_ms);

-- What changed and was not yet taken over by the audit log and the notifications.
CREATE TABLE changes (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    approval TEXT NOT NULL,
    function TEXT NOT NULL,
    state    TEXT NOT NULL,
    cause    TEXT NOT NULL,
    at_ms    BIGINT NOT NULL
);

CREATE TABLE revocations (
    id        TEXT PRIMARY KEY,
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
