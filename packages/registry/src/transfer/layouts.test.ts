import { execFile } from "node:child_process";
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { digestOfBytes } from "@cache-registry/core/verify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LayoutWriter } from "./layout.ts";
import { createLayoutWriter, openLayout } from "./open-layout.ts";
import { scanTar, TAR_END, tarHeader } from "./tar.ts";
import { bytesOf } from "./verified.ts";

const run = promisify(execFile);
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "creg-layout-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const blobOf = (text: string) => {
  const bytes = Buffer.from(text);
  return { bytes, digest: digestOfBytes(bytes), size: bytes.length };
};
const [one, two, empty] = [blobOf("one ".repeat(1_000)), blobOf("two"), blobOf("")];
const long = { bytes: one.bytes, digest: digestOfBytes(one.bytes, "sha512"), size: one.size };
const INDEX = Buffer.from('{"schemaVersion":2,"manifests":[]}');

async function* sending(bytes: Buffer, then?: Error): AsyncGenerator<Buffer> {
  yield bytes.subarray(0, 10);
  if (then) throw then;
  yield bytes.subarray(10);
}

async function write(writer: LayoutWriter, ...blobs: (typeof one)[]): Promise<void> {
  for (const blob of blobs) if (!writer.has(blob.digest)) await writer.write(blob, sending(blob.bytes));
}

async function writerOf(path: string): Promise<{ writer: LayoutWriter; found: string[] }> {
  const found: string[] = [];
  return { writer: await createLayoutWriter(path, (name) => void found.push(name)), found };
}

describe.each(["layout.tar", "layout"])("an OCI image layout in %s", (name) => {
  it("is written and read, whatever the size and the algorithm", async () => {
    const path = join(folder, name);
    const { writer } = await writerOf(path);
    await write(writer, one, empty, long);
    await writer.finish(INDEX);
    await writer.close();
    const layout = await openLayout(path);
    expect(await layout.index()).toEqual(INDEX);
    for (const { digest, bytes, size } of [one, empty, long]) {
      expect(await layout.size(digest)).toBe(size);
      expect((await bytesOf(layout.open(digest), 10_000)).equals(bytes)).toBe(true);
    }
    expect(await layout.size(two.digest)).toBeUndefined();
    await layout.close();
  });

  it("keeps nothing of a blob that is not what it is called, or breaks off", async () => {
    const path = join(folder, name);
    const { writer } = await writerOf(path);
    await write(writer, two);
    await expect(writer.write(one, sending(Buffer.from("x".repeat(one.size))))).rejects.toThrow(
      `${one.digest}: the bytes are others`,
    );
    await expect(writer.write(one, sending(Buffer.from("short")))).rejects.toThrow(`${one.digest}: only 5`);
    await expect(writer.write(one, sending(Buffer.alloc(one.size + 1)))).rejects.toThrow(`${one.digest}: more`);
    await expect(writer.write(one, sending(one.bytes, new Error("cut")))).rejects.toThrow("cut");
    expect([writer.has(one.digest), writer.has(two.digest)]).toEqual([false, true]);
    await writer.finish(INDEX);
    await writer.close();
    const layout = await openLayout(path);
    expect([await layout.size(one.digest), await layout.size(two.digest)]).toEqual([undefined, 3]);
    await layout.close();
  });

  it("goes on where an earlier run ended, also when that had finished", async () => {
    const path = join(folder, name);
    for (const blobs of [[one], [one, two], [one, two, empty]]) {
      const { writer } = await writerOf(path);
      expect(blobs.filter(({ digest }) => writer.has(digest))).toEqual(blobs.slice(0, -1));
      await write(writer, ...blobs);
      await writer.finish(INDEX);
      await writer.close();
    }
    const { found, writer } = await writerOf(path);
    expect(found.toSorted()).toEqual([one, two, empty].map(({ digest }) => digest).toSorted());
    await writer.close();
  });
});

describe("an archive", () => {
  const path = () => join(folder, "some.tar");

  async function archive(): Promise<void> {
    const { writer } = await writerOf(path());
    await write(writer, two, one);
    await writer.finish(INDEX);
    await writer.close();
  }

  it("is one that tar reads, and reads those that tar writes", async () => {
    await archive();
    const { stdout } = await run("tar", ["-tf", path()]);
    expect(stdout.trim().split("\n")).toHaveLength(4);
    const unpacked = join(folder, "unpacked");
    await mkdir(unpacked);
    await run("tar", ["-C", unpacked, "-xf", path()]);
    const { writer } = await writerOf(unpacked);
    await write(writer, long);
    await writer.close();
    for (const format of ["gnu", "pax", "ustar"]) {
      const blobs = format === "ustar" ? [one, two] : [one, two, long];
      const packed = join(folder, `${format}.tar`);
      if (format === "ustar") await rm(join(unpacked, "blobs", "sha512"), { recursive: true });
      await run("tar", [`--format=${format}`, "-C", unpacked, "-cf", packed, "."]);
      const layout = await openLayout(packed);
      expect(await layout.index()).toEqual(INDEX);
      for (const { digest, size } of blobs) expect(await layout.size(digest)).toBe(size);
      await layout.close();
    }
  });

  it("that is cut anywhere is refused by a reader, and mended by a writer", async () => {
    await archive();
    const whole = await readFile(path());
    for (const length of [1, 511, 600, 1_100, 2_500, 6_000, whole.length - 1_500]) {
      await writeFile(path(), whole.subarray(0, length));
      await expect(openLayout(path()).then((layout) => layout.index())).rejects.toThrow(/some\.tar/);
      await archive();
      expect((await readFile(path())).equals(whole)).toBe(true);
    }
  });

  it("with damaged bytes is written anew from there", async () => {
    await archive();
    const handle = await open(path(), "r+");
    await handle.write(Buffer.from("X"), 0, 1, 1_024 + 512 + 1);
    await handle.close();
    const { writer } = await writerOf(path());
    expect([writer.has(two.digest), writer.has(one.digest)]).toEqual([false, false]);
    expect((await stat(path())).size).toBe(1_024);
    await writer.close();
  });

  it("of somebody else is not touched, and one that is compressed is named as such", async () => {
    const foreign = join(folder, "foreign.tar");
    await writeFile(foreign, Buffer.concat([tarHeader("letter.txt", 0), TAR_END]));
    await expect(writerOf(foreign)).rejects.toThrow("it holds letter.txt");
    await writeFile(foreign, "no archive at all ".repeat(100));
    await expect(writerOf(foreign)).rejects.toThrow("no tar header at byte 0");
    expect((await stat(foreign)).size).toBe(1_800);
    await writeFile(foreign, gzipSync("x"));
    await expect(openLayout(foreign)).rejects.toThrow("decompress it first");
    await archive();
    await truncate(path(), 0);
    await expect(openLayout(path())).rejects.toThrow("ends in the middle");
    expect(await readdir(folder)).toHaveLength(2);
  });

  it("states sizes that do not fit into octal digits", async () => {
    const big = 9 * 2 ** 30;
    const file = await open(path(), "w+");
    await file.write(tarHeader("big", big));
    await file.truncate(512 + big);
    expect(await scanTar(file)).toEqual({
      entries: [{ name: "big", start: 512, size: big }],
      end: 512 + big,
      cut: false,
    });
    await file.close();
  });

  it("with a header that lies does not make the reader allocate or run in circles", async () => {
    for (const size of [2 ** 40, Number.MAX_SAFE_INTEGER]) {
      await writeFile(path(), tarHeader("x", size));
      await expect(openLayout(path())).rejects.toThrow("ends in the middle");
    }
  });
});
