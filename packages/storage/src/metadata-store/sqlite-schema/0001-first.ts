/**
 * Times are milliseconds since the epoch. `repository_id` 0 in `reviews` is a blob, which belongs to no repository.
 * Counts are kept by triggers, so that no write path can forget them.
 */
export const FIRST_SCHEMA = `
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES
  ('blobs', 0), ('blob_bytes', 0), ('manifests', 0), ('repositories', 0), ('reviews', 0), ('generation', 0);

-- AUTOINCREMENT: the id of a removed repository must not come back to rows that still name it.
CREATE TABLE repositories (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  upstream TEXT,
  manifests INTEGER NOT NULL DEFAULT 0,
  links INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX repositories_with_manifests ON repositories (name) WHERE manifests > 0;

CREATE TABLE manifests (
  id INTEGER PRIMARY KEY,
  repository_id INTEGER NOT NULL REFERENCES repositories (id),
  digest TEXT NOT NULL,
  media_type TEXT NOT NULL,
  size INTEGER NOT NULL,
  subject TEXT,
  -- 1 once the subject was beside it: from then on it follows the subject.
  subject_seen INTEGER NOT NULL DEFAULT 0,
  artifact_type TEXT,
  annotations TEXT NOT NULL,
  put_at INTEGER NOT NULL,
  pulled_at INTEGER,
  -- When the last tag, parent, owner or subject went; null while there is one, or when there never was.
  unreferenced_at INTEGER,
  UNIQUE (repository_id, digest)
) STRICT;
CREATE INDEX manifests_by_digest ON manifests (digest);
CREATE INDEX manifests_by_subject ON manifests (repository_id, subject) WHERE subject IS NOT NULL;

CREATE TABLE manifest_references (
  manifest_id INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  repository_id INTEGER NOT NULL,
  child TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('blob', 'manifest')),
  size INTEGER NOT NULL,
  PRIMARY KEY (manifest_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX references_by_child ON manifest_references (repository_id, child);

CREATE TABLE tags (
  repository_id INTEGER NOT NULL REFERENCES repositories (id),
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  checked_at INTEGER NOT NULL,
  stale_since INTEGER,
  PRIMARY KEY (repository_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_digest ON tags (repository_id, digest);

CREATE TABLE blobs (
  digest TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('live', 'deleting'))
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_deleting ON blobs (digest) WHERE state = 'deleting';

CREATE TABLE blob_links (
  digest TEXT NOT NULL REFERENCES blobs (digest),
  repository_id INTEGER NOT NULL REFERENCES repositories (id),
  linked_at INTEGER NOT NULL,
  touched_at INTEGER NOT NULL,
  PRIMARY KEY (digest, repository_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_links_by_repository ON blob_links (repository_id);

CREATE TABLE uploads (
  id TEXT PRIMARY KEY,
  repository TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  touched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_by_touch ON uploads (touched_at);

CREATE TABLE images (reference TEXT PRIMARY KEY, digest TEXT) STRICT, WITHOUT ROWID;
CREATE INDEX images_by_digest ON images (digest) WHERE digest IS NOT NULL;

CREATE TABLE image_owners (
  reference TEXT NOT NULL REFERENCES images (reference),
  owner TEXT NOT NULL,
  pinned_until INTEGER,
  platforms TEXT NOT NULL,
  PRIMARY KEY (reference, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_owners_by_owner ON image_owners (owner, reference);

CREATE TABLE reviews (
  repository_id INTEGER NOT NULL,
  digest TEXT NOT NULL,
  review_after INTEGER NOT NULL,
  event TEXT NOT NULL,
  PRIMARY KEY (repository_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX reviews_due ON reviews (review_after);

CREATE TRIGGER manifest_added AFTER INSERT ON manifests BEGIN
  UPDATE counters SET value = value + 1 WHERE name = 'manifests';
  UPDATE repositories SET manifests = manifests + 1 WHERE id = NEW.repository_id;
END;
CREATE TRIGGER manifest_removed AFTER DELETE ON manifests BEGIN
  UPDATE counters SET value = value - 1 WHERE name = 'manifests';
  UPDATE repositories SET manifests = manifests - 1 WHERE id = OLD.repository_id;
END;
CREATE TRIGGER link_added AFTER INSERT ON blob_links BEGIN
  UPDATE repositories SET links = links + 1 WHERE id = NEW.repository_id;
END;
CREATE TRIGGER link_removed AFTER DELETE ON blob_links BEGIN
  UPDATE repositories SET links = links - 1 WHERE id = OLD.repository_id;
END;
CREATE TRIGGER repository_counted AFTER UPDATE OF manifests ON repositories
WHEN (OLD.manifests > 0) <> (NEW.manifests > 0) BEGIN
  UPDATE counters SET value = value + (NEW.manifests > 0) - (OLD.manifests > 0) WHERE name = 'repositories';
END;
CREATE TRIGGER repository_empty AFTER UPDATE OF manifests, links ON repositories
WHEN NEW.manifests = 0 AND NEW.links = 0 BEGIN
  DELETE FROM reviews WHERE repository_id = NEW.id;
  DELETE FROM tags WHERE repository_id = NEW.id;
  DELETE FROM repositories WHERE id = NEW.id;
END;
CREATE TRIGGER blob_added AFTER INSERT ON blobs WHEN NEW.state = 'live' BEGIN
  UPDATE counters SET value = value + 1 WHERE name = 'blobs';
  UPDATE counters SET value = value + NEW.size WHERE name = 'blob_bytes';
END;
CREATE TRIGGER blob_removed AFTER DELETE ON blobs WHEN OLD.state = 'live' BEGIN
  UPDATE counters SET value = value - 1 WHERE name = 'blobs';
  UPDATE counters SET value = value - OLD.size WHERE name = 'blob_bytes';
END;
CREATE TRIGGER blob_changed AFTER UPDATE ON blobs BEGIN
  UPDATE counters SET value = value + (NEW.state = 'live') - (OLD.state = 'live') WHERE name = 'blobs';
  UPDATE counters SET value = value + (NEW.state = 'live') * NEW.size - (OLD.state = 'live') * OLD.size
    WHERE name = 'blob_bytes';
END;
CREATE TRIGGER review_added AFTER INSERT ON reviews BEGIN
  UPDATE counters SET value = value + 1 WHERE name = 'reviews';
END;
CREATE TRIGGER review_removed AFTER DELETE ON reviews BEGIN
  UPDATE counters SET value = value - 1 WHERE name = 'reviews';
END
`;
