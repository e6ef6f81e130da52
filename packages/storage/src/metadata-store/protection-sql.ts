/*
 * What keeps content, in the SQL that both databases read alike: a driver that forgot one of these would delete what is
 * needed.
 */

/**
 * SQL: does anything refer to manifest `m`? A tag, a parent in the repository, an image that names its digest (in
 * whatever repository: keeping too much is the harmless side), or a subject that is there.
 */
export const MANIFEST_PROTECTED = `(
  EXISTS (SELECT 1 FROM tags AS t WHERE t.repository_id = m.repository_id AND t.digest = m.digest)
  OR EXISTS (SELECT 1 FROM manifest_references AS p WHERE p.repository_id = m.repository_id AND p.child = m.digest)
  OR EXISTS (SELECT 1 FROM images AS i WHERE i.digest = m.digest)
  OR (m.subject IS NOT NULL AND EXISTS (
    SELECT 1 FROM manifests AS s WHERE s.repository_id = m.repository_id AND s.digest = m.subject)))`;

/** SQL: is link `l` backed by a manifest of its repository, one that refers to the bytes or is them? */
export const LINK_BACKED = `(
  EXISTS (SELECT 1 FROM manifest_references AS p WHERE p.repository_id = l.repository_id AND p.child = l.digest)
  OR EXISTS (SELECT 1 FROM manifests AS d WHERE d.repository_id = l.repository_id AND d.digest = l.digest))`;
