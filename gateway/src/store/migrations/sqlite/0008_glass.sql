-- Whether a vote is of the person who asked, who broke the glass.
ALTER TABLE votes ADD COLUMN glass BIGINT NOT NULL DEFAULT 0;
