import { describe, expect, it } from "vitest";
import type { UploadRecord } from "./metadata-store.ts";
import { createSqliteUploads } from "./sqlite-uploads.ts";

const session = (id: string): UploadRecord => ({ id, repository: "team/app", startedAt: 10, touchedAt: 10 });

/** A table and what was done to it. `failure` is what the next writes meet. */
function table() {
  const rows = new Map<string, UploadRecord>();
  const done: string[] = [];
  const state: { failure?: Error | undefined; gate?: Promise<void> } = {};
  async function act(text: string, action: () => void): Promise<void> {
    await state.gate;
    if (state.failure) throw state.failure;
    done.push(text);
    action();
  }
  const uploads = createSqliteUploads({
    delay: 5,
    read: {
      upload: async (id) => rows.get(id),
      idleUploads: async (before) => [...rows.values()].filter(({ touchedAt }) => touchedAt < before),
    },
    write: {
      createUpload: (upload) => act(`create ${upload.id}`, () => rows.set(upload.id, upload)),
      touchUpload: (id, now) => act(`touch ${id} ${now}`, () => rows.set(id, { ...session(id), touchedAt: now })),
      deleteUpload: async (id) => {
        await act(`delete ${id}`, () => rows.delete(id));
        return true;
      },
    },
  });
  return { uploads, rows, done, state };
}

describe("upload sessions written behind", () => {
  it("never writes those that begin and end soon", async () => {
    const { uploads, done } = table();
    await uploads.createUpload(session("a"));
    await uploads.touchUpload("a", 20);
    expect(await uploads.upload("a")).toEqual({ ...session("a"), touchedAt: 20 });
    expect(await uploads.deleteUpload("a")).toBe(true);
    expect(await uploads.upload("a")).toBeUndefined();
    await uploads.flush();
    expect(done).toEqual([]);
  });

  it("writes the others soon, as they are by then, and their changes once", async () => {
    const { uploads, done } = table();
    await uploads.createUpload(session("a"));
    await uploads.touchUpload("a", 20);
    await expect.poll(() => done).toEqual(["create a"]);
    for (const now of [40, 30]) await uploads.touchUpload("a", now);
    await expect.poll(() => done).toEqual(["create a", "touch a 40"]);
    await uploads.deleteUpload("a");
    expect(await uploads.upload("a")).toBeUndefined();
    await expect.poll(() => done).toEqual(["create a", "touch a 40", "delete a"]);
  });

  it("knows those that are on their way, and what became of them meanwhile", async () => {
    const { uploads, rows, state } = table();
    const gate = Promise.withResolvers<void>();
    state.gate = gate.promise;
    for (const id of ["a", "b"]) await uploads.createUpload(session(id));
    const flushed = uploads.flush();
    await uploads.deleteUpload("a");
    await uploads.touchUpload("b", 20);
    expect([await uploads.upload("a"), (await uploads.upload("b"))?.touchedAt]).toEqual([undefined, 20]);
    gate.resolve();
    await flushed;
    await uploads.flush();
    expect([...rows.values()]).toEqual([{ ...session("b"), touchedAt: 20 }]);
  });

  it("tries again what failed, unless it ended meanwhile", async () => {
    const { uploads, rows, state } = table();
    state.failure = new Error("disk full");
    for (const id of ["a", "b", "c"]) await uploads.createUpload(session(id));
    const failed = uploads.flush();
    await uploads.deleteUpload("a");
    await uploads.touchUpload("b", 20);
    await expect(failed).rejects.toThrow("disk full");
    expect(await uploads.idleUploads(100, 10)).toEqual([]);
    state.failure = undefined;
    await uploads.flush();
    expect([...rows.values()]).toEqual([{ ...session("b"), touchedAt: 20 }, session("c")]);
    expect(await uploads.deleteUpload("a")).toBe(false);
  });

  it("lets an id be used again after its end", async () => {
    const { uploads, rows } = table();
    await uploads.createUpload(session("a"));
    await uploads.flush();
    await uploads.deleteUpload("a");
    await uploads.createUpload({ ...session("a"), repository: "other" });
    await expect(uploads.createUpload(session("a"))).rejects.toThrow("is there already");
    await uploads.flush();
    expect(rows.get("a")?.repository).toBe("other");
  });

  it("finds idle ones that are not written yet", async () => {
    const { uploads } = table();
    await uploads.createUpload(session("a"));
    expect(await uploads.idleUploads(11, 10)).toEqual([session("a")]);
  });
});
