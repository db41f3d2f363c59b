-- The typed input of a question, sealed: the next one of the same caller and function is compared with it.
ALTER TABLE approvals ADD COLUMN input BYTEA NOT NULL DEFAULT '';
CREATE INDEX approvals_caller ON approvals (caller, function, created_ms);
