/**
 * Times are milliseconds since the epoch. `repository_id` 0 in `reviews` is a blob, which belongs to no repository.
 * COLLATE "C": pages are in the order of the bytes, whatever the database's locale.
 *
 * Counts are kept by triggers, so that no write path can forget them. Those of the whole store are kept as changes that
 * are added up when read and folded from time to time: one row for all would make every writer wait for every other.
 */
export const FIRST_SCHEMA = `
CREATE TABLE counters (
  id integer PRIMARY KEY CHECK (id = 1),
  blobs bigint NOT NULL, blob_bytes bigint NOT NULL, pushed_bytes bigint NOT NULL, manifests bigint NOT NULL, repositories bigint NOT NULL,
  reviews bigint NOT NULL
);
INSERT INTO counters VALUES (1, 0, 0, 0, 0, 0, 0);
CREATE TABLE counter_changes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  blobs bigint NOT NULL DEFAULT 0, blob_bytes bigint NOT NULL DEFAULT 0, pushed_bytes bigint NOT NULL DEFAULT 0,
  manifests bigint NOT NULL DEFAULT 0, repositories bigint NOT NULL DEFAULT 0, reviews bigint NOT NULL DEFAULT 0
);
-- One for all blobs: a blob that is forgotten and comes back gets a number that no late removal can hold.
CREATE SEQUENCE blob_generations;

CREATE TABLE repositories (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  upstream text COLLATE "C",
  manifests bigint NOT NULL DEFAULT 0,
  links bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE INDEX repositories_with_manifests ON repositories (name) WHERE manifests > 0;

CREATE TABLE manifests (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  repository_id bigint NOT NULL REFERENCES repositories (id),
  digest text COLLATE "C" NOT NULL,
  media_type text NOT NULL,
  size bigint NOT NULL,
  subject text COLLATE "C",
  -- True once the subject was beside it: from then on it follows the subject.
  subject_seen boolean NOT NULL DEFAULT false,
  artifact_type text COLLATE "C",
  -- Text, not jsonb: jsonb refuses a NUL that is written as an escape.
  annotations text NOT NULL,
  put_at bigint NOT NULL,
  pulled_at bigint,
  -- When the last tag, parent, owner or subject went; null while there is one, or when there never was.
  unreferenced_at bigint,
  cached boolean NOT NULL,
  -- The last use of it or of a manifest below it, for eviction.
  used_at bigint NOT NULL,
  UNIQUE (repository_id, digest)
) WITH (fillfactor = 85);
CREATE INDEX manifests_by_use ON manifests (used_at, id) WHERE cached;
CREATE INDEX manifests_by_digest ON manifests (digest);
CREATE INDEX manifests_by_subject ON manifests (repository_id, subject, digest) WHERE subject IS NOT NULL;
-- An artifact type may be longer than an index entry: what is compared is its hash.
CREATE INDEX manifests_by_subject_and_type ON manifests (repository_id, subject, md5(artifact_type), digest)
  WHERE subject IS NOT NULL;

CREATE TABLE referrers_answers (
  manifest_id bigint PRIMARY KEY REFERENCES manifests (id) ON DELETE CASCADE,
  document text NOT NULL,
  checked_at bigint NOT NULL
);

CREATE TABLE manifest_references (
  manifest_id bigint NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
  position integer NOT NULL,
  repository_id bigint NOT NULL,
  child text COLLATE "C" NOT NULL,
  kind text NOT NULL CHECK (kind IN ('blob', 'manifest')),
  size bigint NOT NULL,
  PRIMARY KEY (manifest_id, position)
);
CREATE INDEX references_by_child ON manifest_references (repository_id, child);

CREATE TABLE tags (
  repository_id bigint NOT NULL REFERENCES repositories (id),
  name text COLLATE "C" NOT NULL,
  digest text COLLATE "C" NOT NULL,
  checked_at bigint NOT NULL,
  stale_since bigint,
  PRIMARY KEY (repository_id, name)
) WITH (fillfactor = 85);
CREATE INDEX tags_by_digest ON tags (repository_id, digest);

CREATE TABLE blobs (
  digest text COLLATE "C" PRIMARY KEY,
  size bigint NOT NULL,
  generation bigint NOT NULL,
  state text NOT NULL CHECK (state IN ('live', 'deleting')),
  -- A blob is pushed as long as a local repository links it.
  local_links bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 85);
CREATE INDEX blobs_deleting ON blobs (digest) WHERE state = 'deleting';

CREATE TABLE blob_links (
  digest text COLLATE "C" NOT NULL REFERENCES blobs (digest),
  repository_id bigint NOT NULL REFERENCES repositories (id),
  linked_at bigint NOT NULL,
  touched_at bigint NOT NULL,
  PRIMARY KEY (digest, repository_id)
) WITH (fillfactor = 85);
CREATE INDEX blob_links_by_repository ON blob_links (repository_id);

CREATE TABLE uploads (
  id text COLLATE "C" PRIMARY KEY,
  repository text NOT NULL,
  started_at bigint NOT NULL,
  touched_at bigint NOT NULL
);
CREATE INDEX uploads_by_touch ON uploads (touched_at);

CREATE TABLE images (reference text COLLATE "C" PRIMARY KEY, digest text COLLATE "C");
CREATE INDEX images_by_digest ON images (digest) WHERE digest IS NOT NULL;

CREATE TABLE image_owners (
  reference text COLLATE "C" NOT NULL REFERENCES images (reference),
  owner text COLLATE "C" NOT NULL,
  pinned_until bigint,
  platforms text NOT NULL,
  PRIMARY KEY (reference, owner)
);
CREATE INDEX image_owners_by_owner ON image_owners (owner, reference);

CREATE TABLE reviews (
  repository_id bigint NOT NULL,
  digest text COLLATE "C" NOT NULL,
  review_after bigint NOT NULL,
  event text NOT NULL,
  PRIMARY KEY (repository_id, digest)
);
CREATE INDEX reviews_due ON reviews (review_after);

CREATE FUNCTION manifests_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO counter_changes (manifests) SELECT count(*) FROM added HAVING count(*) > 0;
  UPDATE repositories AS r SET manifests = r.manifests + a.n
    FROM (SELECT repository_id, count(*) AS n FROM added GROUP BY repository_id) AS a WHERE r.id = a.repository_id;
  RETURN NULL;
END $$;
CREATE TRIGGER manifests_added AFTER INSERT ON manifests REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION manifests_added();

-- A repository goes with the last that it holds, and what named it with it.
CREATE FUNCTION drop_empty_repositories(ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE empty bigint[] := ARRAY(SELECT id FROM repositories WHERE id = ANY(ids) AND manifests = 0 AND links = 0);
BEGIN
  IF empty = '{}' THEN RETURN; END IF;
  DELETE FROM reviews WHERE repository_id = ANY(empty);
  DELETE FROM tags WHERE repository_id = ANY(empty);
  DELETE FROM repositories WHERE id = ANY(empty);
END $$;

CREATE FUNCTION manifests_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO counter_changes (manifests) SELECT -count(*) FROM removed HAVING count(*) > 0;
  UPDATE repositories AS r SET manifests = r.manifests - a.n
    FROM (SELECT repository_id, count(*) AS n FROM removed GROUP BY repository_id) AS a WHERE r.id = a.repository_id;
  PERFORM drop_empty_repositories(ARRAY(SELECT DISTINCT repository_id FROM removed));
  RETURN NULL;
END $$;
CREATE TRIGGER manifests_removed AFTER DELETE ON manifests REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION manifests_removed();

CREATE FUNCTION links_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE blobs AS b SET local_links = b.local_links + a.n FROM (
    SELECT l.digest, count(*) AS n FROM added AS l JOIN repositories AS r ON r.id = l.repository_id
    WHERE r.upstream IS NULL GROUP BY l.digest) AS a WHERE b.digest = a.digest;
  UPDATE repositories AS r SET links = r.links + a.n
    FROM (SELECT repository_id, count(*) AS n FROM added GROUP BY repository_id) AS a WHERE r.id = a.repository_id;
  RETURN NULL;
END $$;
CREATE TRIGGER links_added AFTER INSERT ON blob_links REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION links_added();

CREATE FUNCTION links_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- First, as the repository may go below.
  UPDATE blobs AS b SET local_links = b.local_links - a.n FROM (
    SELECT l.digest, count(*) AS n FROM removed AS l JOIN repositories AS r ON r.id = l.repository_id
    WHERE r.upstream IS NULL GROUP BY l.digest) AS a WHERE b.digest = a.digest;
  UPDATE repositories AS r SET links = r.links - a.n
    FROM (SELECT repository_id, count(*) AS n FROM removed GROUP BY repository_id) AS a WHERE r.id = a.repository_id;
  PERFORM drop_empty_repositories(ARRAY(SELECT DISTINCT repository_id FROM removed));
  RETURN NULL;
END $$;
CREATE TRIGGER links_removed AFTER DELETE ON blob_links REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION links_removed();

CREATE FUNCTION repository_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO counter_changes (repositories) VALUES ((NEW.manifests > 0)::int - (OLD.manifests > 0)::int);
  RETURN NULL;
END $$;
CREATE TRIGGER repository_counted AFTER UPDATE OF manifests ON repositories FOR EACH ROW
  WHEN ((OLD.manifests > 0) <> (NEW.manifests > 0)) EXECUTE FUNCTION repository_counted();

CREATE FUNCTION blob_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  blobs_delta integer := 0; bytes_delta bigint := 0; pushed_delta bigint := 0;
BEGIN
  IF TG_OP <> 'INSERT' AND OLD.state = 'live' THEN
    blobs_delta := -1; bytes_delta := -OLD.size;
    IF OLD.local_links > 0 THEN pushed_delta := -OLD.size; END IF;
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.state = 'live' THEN
    blobs_delta := blobs_delta + 1; bytes_delta := bytes_delta + NEW.size;
    IF NEW.local_links > 0 THEN pushed_delta := pushed_delta + NEW.size; END IF;
  END IF;
  IF blobs_delta <> 0 OR bytes_delta <> 0 OR pushed_delta <> 0 THEN
    INSERT INTO counter_changes (blobs, blob_bytes, pushed_bytes) VALUES (blobs_delta, bytes_delta, pushed_delta);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER blob_counted AFTER INSERT OR DELETE OR UPDATE OF size, state, local_links ON blobs
  FOR EACH ROW EXECUTE FUNCTION blob_counted();

CREATE FUNCTION reviews_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO counter_changes (reviews)
    SELECT CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END FROM changed HAVING count(*) > 0;
  RETURN NULL;
END $$;
CREATE TRIGGER reviews_added AFTER INSERT ON reviews REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION reviews_counted();
CREATE TRIGGER reviews_removed AFTER DELETE ON reviews REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION reviews_counted();
`;
