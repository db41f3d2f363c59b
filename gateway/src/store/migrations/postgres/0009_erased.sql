-- Of or about somebody who is erased: names go as soon as nothing waits for them any more. In `approvals`: 2 who asked,
-- 1 somebody beside them.
ALTER TABLE approvals ADD COLUMN erased BIGINT NOT NULL DEFAULT 0;
ALTER TABLE votes ADD COLUMN erased BIGINT NOT NULL DEFAULT 0;
CREATE INDEX approvals_erased ON approvals (erased) WHERE erased > 0;
CREATE INDEX votes_erased ON votes (erased) WHERE erased > 0;
