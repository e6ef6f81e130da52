/**
 * Cached manifests in the order of their last use, and how much of the bytes is pushed, kept by triggers as the other counts:
 * a blob is pushed as long as a local repository links it.
 */
export const EVICTION_SCHEMA = `
ALTER TABLE manifests ADD COLUMN cached INTEGER NOT NULL DEFAULT 0;
ALTER TABLE manifests ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
UPDATE manifests SET used_at = max(put_at, coalesce(pulled_at, 0)),
  cached = (SELECT r.upstream IS NOT NULL FROM repositories AS r WHERE r.id = repository_id);
CREATE INDEX manifests_by_use ON manifests (used_at, id) WHERE cached = 1;

ALTER TABLE blobs ADD COLUMN local_links INTEGER NOT NULL DEFAULT 0;
UPDATE blobs SET local_links = (
  SELECT count(*) FROM blob_links AS l JOIN repositories AS r ON r.id = l.repository_id AND r.upstream IS NULL
  WHERE l.digest = blobs.digest);
INSERT INTO counters SELECT 'pushed_bytes', coalesce(sum(size), 0) FROM blobs WHERE state = 'live' AND local_links > 0;

DROP TRIGGER link_added;
CREATE TRIGGER link_added AFTER INSERT ON blob_links BEGIN
  UPDATE blobs SET local_links = local_links + 1 WHERE digest = NEW.digest
    AND (SELECT upstream FROM repositories WHERE id = NEW.repository_id) IS NULL;
  UPDATE repositories SET links = links + 1 WHERE id = NEW.repository_id;
END;
DROP TRIGGER link_removed;
-- In this order: with its last link the repository goes, and with it what it was.
CREATE TRIGGER link_removed AFTER DELETE ON blob_links BEGIN
  UPDATE blobs SET local_links = local_links - 1 WHERE digest = OLD.digest
    AND (SELECT upstream FROM repositories WHERE id = OLD.repository_id) IS NULL;
  UPDATE repositories SET links = links - 1 WHERE id = OLD.repository_id;
END;
CREATE TRIGGER pushed_changed AFTER UPDATE ON blobs BEGIN
  UPDATE counters SET value = value + (NEW.state = 'live' AND NEW.local_links > 0) * NEW.size
    - (OLD.state = 'live' AND OLD.local_links > 0) * OLD.size WHERE name = 'pushed_bytes';
END
`;
