import type { DatabaseSync } from "node:sqlite";
import type { UploadRecord } from "../metadata-store.ts";
import { prepare } from "../sqlite-statement.ts";

export type Uploads = ReturnType<typeof createUploads>;

export function createUploads(db: DatabaseSync) {
  const create = prepare(db, "INSERT INTO uploads (id, repository, started_at, touched_at) VALUES (?, ?, ?, ?)");
  const touch = prepare(db, "UPDATE uploads SET touched_at = max(touched_at, ?) WHERE id = ?");
  const remove = prepare(db, "DELETE FROM uploads WHERE id = ?");

  return {
    create({ id, repository, startedAt, touchedAt }: UploadRecord): void {
      create.run(id, repository, startedAt, touchedAt);
    },
    touch(id: string, now: number): void {
      touch.run(now, id);
    },
    remove: (id: string): boolean => remove.run(id) > 0,
  };
}
