-- The voter as verified for the vote, sealed: policy is asked about it again when the call runs.
ALTER TABLE votes ADD COLUMN voter BYTEA NOT NULL DEFAULT '';
