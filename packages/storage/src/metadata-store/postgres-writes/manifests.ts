import type { Digest } from "@cache-registry/core/digest";
import type { ManifestReference, PutManifest, RepositoryStore } from "../metadata-store.ts";
import { repositoryId, type Session, sql } from "../postgres/statement.ts";
import { MANIFEST_PROTECTED } from "../protection-sql.ts";
import type { Removal } from "../review-event.ts";
import { digestsOf, lockBlobs, putLinked, timesOf } from "./blobs.ts";
import { gained, lost, referrersLost } from "./protection.ts";
import { dropManifestReview, queueBlobs, queueManifest } from "./queue.ts";
import {
  assertOrigin,
  ensureRepository,
  lockRepositoriesByName,
  lockRepository,
  type RepositoryRow,
} from "./repositories.ts";
import { findTags, setTags } from "./tags.ts";
import { recordUse } from "./use.ts";

type Pulls = Parameters<RepositoryStore["recordPulls"]>[0];

const HELD = sql<{ digest: Digest; kind: ManifestReference["kind"] }>(
  `SELECT l.digest, 'blob' AS kind FROM blob_links AS l JOIN blobs AS b ON b.digest = l.digest AND b.state = 'live'
     WHERE l.repository_id = $1 AND l.digest = ANY($2::text[])
   UNION ALL
   SELECT digest, 'manifest' FROM manifests WHERE repository_id = $1 AND digest = ANY($3::text[])`,
);
const FIND = sql<{ id: number }>("SELECT id FROM manifests WHERE repository_id = $1 AND digest = $2");
// The row's `unreferenced_at` stays: a manifest put again without a tag is as unreferenced as before.
const PUT = sql<{ id: number }>(
  `INSERT INTO manifests
     (repository_id, digest, media_type, size, subject, artifact_type, annotations, put_at, used_at, cached)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)
   ON CONFLICT (repository_id, digest) DO UPDATE SET media_type = excluded.media_type, size = excluded.size,
     subject = excluded.subject, artifact_type = excluded.artifact_type, annotations = excluded.annotations,
     put_at = excluded.put_at
   RETURNING id`,
);
const CLEAR_REFERENCES = sql("DELETE FROM manifest_references WHERE manifest_id = $1");
const ADD_REFERENCES = sql(
  `INSERT INTO manifest_references (manifest_id, position, repository_id, child, kind, size)
   SELECT $1, r.position, $2, r.child, r.kind, r.size
   FROM unnest($3::text[], $4::text[], $5::bigint[]) WITH ORDINALITY AS r (child, kind, size, position)`,
);
const CHILDREN = sql<{ child: Digest }>("SELECT DISTINCT child FROM manifest_references WHERE manifest_id = $1");
const FOLLOW_SUBJECT = sql(
  `UPDATE manifests SET subject_seen = true, unreferenced_at = NULL
   WHERE repository_id = $1 AND subject = $2 AND (NOT subject_seen OR unreferenced_at IS NOT NULL)`,
);
const FOLLOW_OWN_SUBJECT = sql(
  `UPDATE manifests AS m SET subject_seen = true WHERE m.id = $1 AND EXISTS (
     SELECT 1 FROM manifests AS s WHERE s.repository_id = m.repository_id AND s.digest = m.subject)`,
);
const IS_PROTECTED = sql<{ protected: boolean }>(
  `SELECT ${MANIFEST_PROTECTED} AS protected FROM manifests AS m WHERE m.id = $1`,
);
const REMOVE_TAGS = sql("DELETE FROM tags WHERE repository_id = $1 AND digest = $2");
const REMOVE = sql("DELETE FROM manifests WHERE id = $1");
const RECORD_PULLS = sql(
  `UPDATE manifests AS m SET pulled_at = greatest(m.pulled_at, u.by_digest,
     CASE WHEN u.by_tag IS NOT NULL THEN least(u.by_tag, m.unreferenced_at) END)
   FROM (
     SELECT r.id, p.digest, max(p.at) FILTER (WHERE NOT p.by_tag) AS by_digest,
       max(p.at) FILTER (WHERE p.by_tag) AS by_tag
     FROM unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[]) AS p (repository, digest, at, by_tag)
     JOIN repositories AS r ON r.name = p.repository GROUP BY r.id, p.digest) AS u
   WHERE m.repository_id = u.id AND m.digest = u.digest`,
);
// The manifest's row first, as whoever deletes it does: the foreign key alone would take it last.
const PUT_ANSWER = sql(
  `INSERT INTO referrers_answers (manifest_id, document, checked_at)
   SELECT m.id, $3, $4 FROM manifests AS m WHERE m.repository_id = ${repositoryId(1)} AND m.digest = $2 FOR KEY SHARE
   ON CONFLICT (manifest_id) DO UPDATE SET document = excluded.document, checked_at = excluded.checked_at`,
);

async function missingReferences(
  session: Session,
  repository: RepositoryRow,
  required: readonly ManifestReference[],
): Promise<Digest[]> {
  const ofKind = (wanted: ManifestReference["kind"]) => digestsOf(required.filter(({ kind }) => kind === wanted));
  const rows = await session.rows(HELD, repository.id, ofKind("blob"), ofKind("manifest"));
  const held = new Set(rows.map(({ kind, digest }) => `${kind} ${digest}`));
  return [...new Set(digestsOf(required.filter(({ kind, digest }) => !held.has(`${kind} ${digest}`))))];
}

async function setReferences(
  session: Session,
  manifest: { readonly id: number; readonly repositoryId: number },
  references: readonly ManifestReference[],
): Promise<void> {
  const cleared = session.run(CLEAR_REFERENCES, manifest.id);
  if (references.length === 0) {
    await cleared;
    return;
  }
  const kinds = references.map(({ kind }) => kind);
  const sizes = references.map(({ size }) => size);
  const children = digestsOf(references.filter(({ kind }) => kind === "manifest"));
  await Promise.all([
    cleared,
    session.run(ADD_REFERENCES, manifest.id, manifest.repositoryId, digestsOf(references), kinds, sizes),
    gained(session, manifest.repositoryId, children),
  ]);
}

/** The repository with the locks on it and on what the manifest must find, or what it does not find. */
async function prepare(
  session: Session,
  { repository, manifest, references, requireReferences }: PutManifest,
): Promise<{ readonly row: RepositoryRow } | { readonly missing: Digest[] }> {
  const required = requireReferences ? references.filter(({ optional }) => optional !== true) : [];
  if (required.length === 0) {
    const row = await ensureRepository(session, repository);
    await lockBlobs(session, [manifest.digest]);
    return { row };
  }
  const row = await lockRepository(session, repository.name);
  if (!row) return { missing: [...new Set(digestsOf(required))] };
  // No collector decides about these until we are through.
  const blobs = digestsOf(required.filter(({ kind }) => kind === "blob"));
  // The look goes right behind the locks, and sees what was committed when they were there.
  const [, missing] = await Promise.all([
    lockBlobs(session, [manifest.digest, ...blobs]),
    missingReferences(session, row, required),
  ]);
  return missing.length > 0 ? { missing } : { row };
}

export async function putManifest(
  session: Session,
  grace: number,
  put: PutManifest,
): Promise<{ readonly missing: readonly Digest[] }> {
  const prepared = await prepare(session, put);
  if ("missing" in prepared) return prepared;
  const { row } = prepared;
  assertOrigin(row, put.repository);

  const { manifest, references, tags, now } = put;
  const { digest, mediaType, size, subject, artifactType } = manifest;
  const annotations = JSON.stringify(manifest.annotations);
  const columns = [mediaType, size, subject, artifactType, annotations, now, row.upstream !== null] as const;
  const added = await session.row(PUT, row.id, digest, ...columns);
  if (!added) throw new Error(`manifest ${digest} could not be written`);
  // Sent one behind the other without waiting: the server carries them out in this order.
  const [previous] = await Promise.all([
    findTags(session, row.id, tags),
    setReferences(session, { id: added.id, repositoryId: row.id }, references),
    recordUse(session, [{ repository: put.repository.name, digest, at: now }]),
    putLinked(session, row.id, { digest, size, now }),
  ]);
  const [, , , state] = await Promise.all([
    setTags(session, { repositoryId: row.id, names: tags, previous }, { digest, now, grace }),
    session.run(FOLLOW_SUBJECT, row.id, digest),
    subject === null ? undefined : session.run(FOLLOW_OWN_SUBJECT, added.id),
    session.row(IS_PROTECTED, added.id),
  ]);
  if (state?.protected === true) await gained(session, row.id, [digest]);
  else await queueManifest(session, row.id, digest, { at: now + grace, event: "manifest_put" });
  return { missing: [] };
}

/** The manifest with its references and tags; what it held is told of the loss. False when it was not there. */
export async function removeManifest(
  session: Session,
  repository: number,
  digest: Digest,
  { event, unreferencedAt, reviewAt }: Removal,
): Promise<boolean> {
  const found = await session.row(FIND, repository, digest);
  if (!found) return false;
  const held = (await session.rows(CHILDREN, found.id)).map(({ child }) => child);
  await lockBlobs(session, [digest, ...held]);
  await session.run(REMOVE_TAGS, repository, digest);
  await dropManifestReview(session, repository, digest);
  await session.run(REMOVE, found.id);
  await queueBlobs(session, [digest, ...held], { at: reviewAt, event });
  await lost(session, repository, held, { event, at: unreferencedAt, reviewAt });
  await referrersLost(session, repository, digest, { event: "subject_deleted", at: unreferencedAt, reviewAt });
  return true;
}

export async function deleteManifest(
  session: Session,
  grace: number,
  { repository, digest, now }: { readonly repository: string; readonly digest: Digest; readonly now: number },
): Promise<boolean> {
  const row = await lockRepository(session, repository);
  if (!row) return false;
  const how: Removal = { event: "manifest_deleted", unreferencedAt: now, reviewAt: now + grace };
  return removeManifest(session, row.id, digest, how);
}

/** False when the subject is not there. */
export async function putReferrersAnswer(
  session: Session,
  ...[repository, subject, answer]: Parameters<RepositoryStore["putReferrersAnswer"]>
): Promise<boolean> {
  return (await session.run(PUT_ANSWER, repository, subject, answer.document, answer.checkedAt)) > 0;
}

export async function recordPulls(session: Session, pulls: Pulls): Promise<void> {
  const repositories = pulls.map(({ repository }) => repository);
  await lockRepositoriesByName(session, repositories);
  const byTag = pulls.map((pull) => pull.byTag ?? false);
  await session.run(RECORD_PULLS, repositories, digestsOf(pulls), timesOf(pulls), byTag);
  await recordUse(session, pulls);
}
