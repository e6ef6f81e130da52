import type { UploadRecord } from "../metadata-store.ts";
import { type Session, sql } from "../postgres/statement.ts";

const CREATE = sql("INSERT INTO uploads (id, repository, started_at, touched_at) VALUES ($1, $2, $3, $4)");
const TOUCH = sql("UPDATE uploads SET touched_at = greatest(touched_at, $2) WHERE id = $1");
const REMOVE = sql("DELETE FROM uploads WHERE id = $1");

export async function createUpload(session: Session, upload: UploadRecord): Promise<void> {
  await session.run(CREATE, upload.id, upload.repository, upload.startedAt, upload.touchedAt);
}

export async function touchUpload(session: Session, id: string, now: number): Promise<void> {
  await session.run(TOUCH, id, now);
}

export async function deleteUpload(session: Session, id: string): Promise<boolean> {
  return (await session.run(REMOVE, id)) > 0;
}
