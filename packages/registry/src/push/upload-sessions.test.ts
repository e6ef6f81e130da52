import { digestOfBytes } from "@cache-registry/core/verify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { localRepository } from "../content/repository.ts";
import { openTestStores, type TestStores } from "../test-stores.ts";
import { bodyOf } from "./test-body.ts";
import { createUploadSessions, type UploadSessions } from "./upload-sessions.ts";

const repository = localRepository("team/app");
let stores: TestStores;
let sessions: UploadSessions;
let time: number;

beforeEach(async () => {
  stores = await openTestStores();
  time = 1_000;
  sessions = createUploadSessions({ ...stores, now: () => time });
});
afterEach(() => stores.dispose());

const digest = digestOfBytes(Buffer.from("hello world"));

async function sessionsThere(): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of stores.blobs.listUploads()) ids.push(id);
  return ids;
}

describe("createUploadSessions", () => {
  it("goes on with a hash state, or makes it again from the file", async () => {
    const id = await sessions.begin(repository);
    expect(await sessions.append(repository, id, { body: bodyOf("hello") })).toBe(5);
    // Another process would know nothing of the state.
    const others = createUploadSessions(stores);
    expect(await others.offset(repository, id)).toBe(5);
    await others.complete(repository, id, { body: bodyOf(" world"), from: 5, digest });
    expect(await stores.metadata.isLinked("team/app", digest)).toBe(true);
    expect(await sessionsThere()).toEqual([]);
    await expect(sessions.offset(repository, id)).rejects.toMatchObject({ code: "BLOB_UPLOAD_UNKNOWN" });
  });

  it("ends with a digest of any algorithm, announced or not, also after a restart", async () => {
    const sha512 = digestOfBytes(Buffer.from("hello world"), "sha512");
    for (const announced of ["sha256", "sha512"] as const) {
      for (const wanted of [digest, sha512]) {
        for (const restarted of [false, true]) {
          const id = await sessions.begin(repository, announced);
          await sessions.append(repository, id, { body: bodyOf("hello") });
          const rest = restarted ? createUploadSessions(stores) : sessions;
          await rest.complete(repository, id, { body: bodyOf(" world"), digest: wanted });
          expect(await stores.metadata.isLinked("team/app", wanted)).toBe(true);
        }
      }
    }
    const wrong = await sessions.begin(repository, "sha512");
    await expect(sessions.complete(repository, wrong, { body: bodyOf("other"), digest: sha512 })).rejects.toMatchObject(
      {
        code: "DIGEST_INVALID",
      },
    );
  });

  it("keeps what arrived of a broken body and goes on there", async () => {
    const id = await sessions.begin(repository);
    const broken = sessions.append(repository, id, { body: bodyOf("hel", new Error("reset")) });
    await expect(broken).rejects.toThrow("reset");
    expect(await sessions.offset(repository, id)).toBe(3);
    await sessions.complete(repository, id, { body: bodyOf("lo world"), from: 3, digest });
  });

  it("leaves nothing of a session of one request that fails", async () => {
    await expect(sessions.receive(repository, { body: bodyOf("he", new Error("reset")), digest })).rejects.toThrow(
      "reset",
    );
    await expect(sessions.receive(repository, { body: bodyOf("other"), digest })).rejects.toMatchObject({
      code: "DIGEST_INVALID",
    });
    expect(await sessionsThere()).toEqual([]);
    expect(await stores.metadata.idleUploads(9e15, 10)).toEqual([]);
    await sessions.receive(repository, { body: bodyOf("hello world"), digest });
    expect(await stores.blobs.stat(digest)).toEqual({ size: 11 });
  });

  it("gives up idle sessions only, and never one that is being written to", async () => {
    const idle = await sessions.begin(repository);
    await sessions.append(repository, idle, { body: bodyOf("x") });
    const busy = await sessions.begin(repository);
    const rest = Promise.withResolvers<void>();
    const writing = sessions.append(repository, busy, { body: bodyOf("hello", rest.promise, " world") });
    await expect.poll(() => sessions.offset(repository, busy)).toBe(5);
    time = 5_000;
    const fresh = await sessions.begin(repository);
    expect(await sessions.purge(5_000)).toBe(1);
    await expect(sessions.offset(repository, idle)).rejects.toMatchObject({ status: 404 });
    expect(await sessions.offset(repository, fresh)).toBe(0);
    rest.resolve();
    await writing;
    await sessions.complete(repository, busy, { body: bodyOf(), digest });
    expect(await stores.metadata.isLinked("team/app", digest)).toBe(true);
  });

  it("goes on with the others when a client comes back to a session that is about to be given up", async () => {
    const rest = Promise.withResolvers<void>();
    let writing: Promise<number> | undefined;
    const owner = {
      prefix: "",
      isElsewhere: async (id: string) => {
        writing ??= sessions.append(repository, id, { body: bodyOf(rest.promise) });
        return false;
      },
    };
    sessions = createUploadSessions({ ...stores, owner, now: () => time });
    await sessions.begin(repository);
    await sessions.begin(repository);
    expect(await sessions.purge(5_000)).toBe(1);
    rest.resolve();
    expect(await writing).toBe(0);
  });

  it("lets go of files that belong to no session", async () => {
    await (await stores.blobs.openUpload("stray")).close();
    expect(await sessions.purge(Date.now() + 1_000)).toBe(1);
    expect(await sessionsThere()).toEqual([]);
  });

  it("refuses a chunk or a cancel while another request writes", async () => {
    const id = await sessions.begin(repository);
    const rest = Promise.withResolvers<void>();
    const writing = sessions.append(repository, id, { body: bodyOf(rest.promise) });
    await expect(sessions.append(repository, id, { body: bodyOf("x") })).rejects.toMatchObject({ status: 409 });
    await expect(sessions.cancel(repository, id)).rejects.toMatchObject({ status: 409 });
    rest.resolve();
    await writing;
    await sessions.cancel(repository, id);
    await expect(sessions.cancel(repository, id)).rejects.toMatchObject({ status: 404 });
  });

  it("does not make a file anew for a session that ended while a request was on its way", async () => {
    const id = await sessions.begin(repository);
    const [cancelled, appended] = await Promise.allSettled([
      sessions.cancel(repository, id),
      sessions.append(repository, id, { body: bodyOf("late") }),
    ]);
    expect([cancelled.status, appended.status]).toEqual(["fulfilled", "rejected"]);
    await expect(sessions.append(repository, id, { body: bodyOf("later") })).rejects.toMatchObject({ status: 404 });
    expect(await sessionsThere()).toEqual([]);
  });
});
