import { createVerifier, digestOfBytes } from "@cache-registry/core/verify";
import type { BlobWriter } from "@cache-registry/storage/blob-store/blob-store";
import { describe, expect, it } from "vitest";
import { bodyOf } from "./test-body.ts";
import { writeBody } from "./write-body.ts";

/** Keeps what is written; `gate` holds a write up. */
function recorder(gate: () => Promise<void> = async () => {}) {
  const writes: string[] = [];
  const state = { writing: 0 };
  const writer: BlobWriter = {
    get size() {
      return writes.join("").length;
    },
    async write(bytes) {
      expect(state.writing).toBe(0);
      state.writing += 1;
      const text = Buffer.concat(bytes instanceof Uint8Array ? [bytes] : bytes).toString();
      try {
        await gate();
        writes.push(text);
      } finally {
        state.writing -= 1;
      }
    },
    readAt: async () => 0,
    commit: async () => {},
    close: async () => {},
  };
  return { writer, writes };
}

const batchBytes = () => 4;

describe("writeBody", () => {
  it("writes batches in order, receives the next one meanwhile, and hashes everything", async () => {
    const first = Promise.withResolvers<void>();
    const gates = [first.promise];
    const { writer, writes } = recorder(async () => gates.shift());
    const verifier = createVerifier("sha256");
    const received: string[] = [];
    async function* body() {
      for (const part of ["ab", "cd", "ef", "g", "h"]) {
        received.push(part);
        yield Buffer.from(part);
      }
    }
    const done = writeBody({ body: body(), writer, verifier, batchBytes });
    await expect.poll(() => received.join("")).toBe("abcdefgh");
    expect(writes).toEqual([]);
    first.resolve();
    await done;
    expect(writes).toEqual(["abcd", "efgh"]);
    expect(verifier.digest()).toBe(digestOfBytes(Buffer.from("abcdefgh")));
  });

  it("writes what arrived of a body that breaks off", async () => {
    const { writer, writes } = recorder();
    const verifier = createVerifier("sha256");
    const body = bodyOf("abcd", "e", new Error("reset"));
    await expect(writeBody({ body, writer, verifier, batchBytes })).rejects.toThrow("reset");
    expect([writes.join(""), verifier.size]).toEqual(["abcde", 5]);
  });

  it("does not wait for a full batch when the client is slow", async () => {
    const { writer, writes } = recorder();
    const rest = Promise.withResolvers<void>();
    const verifier = createVerifier("sha256");
    const done = writeBody({ body: bodyOf("a", rest.promise, "b"), writer, verifier, batchBytes });
    await expect.poll(() => writes).toEqual(["a"]);
    rest.resolve();
    await done;
    expect(writes).toEqual(["a", "b"]);
  });

  it("ends with the writer's failure and writes nothing after it", async () => {
    const { writer, writes } = recorder(() => Promise.reject(new Error("disk full")));
    const verifier = createVerifier("sha256");
    await expect(writeBody({ body: bodyOf("abcd", "efgh", "ijkl"), writer, verifier, batchBytes })).rejects.toThrow(
      "disk full",
    );
    expect(writes).toEqual([]);
  });

  it("frees chunks that have their memory to themselves, once they are written, and no others", async () => {
    const { writer, writes } = recorder();
    const whole = new Uint8Array(Buffer.from("own!"));
    const shared = Buffer.from(new ArrayBuffer(8), 4, 4).fill("x");
    async function* body() {
      yield whole;
      yield shared;
    }
    await writeBody({ body: body(), writer, verifier: createVerifier("sha256"), batchBytes });
    expect(writes).toEqual(["own!", "xxxx"]);
    expect([whole.byteLength, shared.byteLength]).toEqual([0, 4]);
  });
});
