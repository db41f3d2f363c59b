-- The list of grants, newest first, reads a page and not everything that ever was granted.
CREATE INDEX grants_at ON grants (at_ms, id);
