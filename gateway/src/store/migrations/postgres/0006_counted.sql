-- What is open is counted at every question: from this index alone, without the rows and what they hold.
CREATE INDEX approvals_counted ON approvals (state, expires_ms, issuer, subject, bytes);
DROP INDEX approvals_state;
