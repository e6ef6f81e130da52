/** Pages of the referrers of a subject, all or of one artifact type, come out of an index in order. */
export const REFERRERS_SCHEMA = `
DROP INDEX manifests_by_subject;
CREATE INDEX manifests_by_subject ON manifests (repository_id, subject, digest) WHERE subject IS NOT NULL;
CREATE INDEX manifests_by_subject_and_type ON manifests (repository_id, subject, artifact_type, digest)
  WHERE subject IS NOT NULL;

CREATE TABLE referrers_answers (
  manifest_id INTEGER PRIMARY KEY REFERENCES manifests (id) ON DELETE CASCADE,
  document TEXT NOT NULL,
  checked_at INTEGER NOT NULL
) STRICT
`;
