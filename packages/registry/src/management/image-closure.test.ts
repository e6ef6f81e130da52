import { type Digest, parseDigest } from "@cache-registry/core/digest";
import { parsePlatform } from "@cache-registry/core/platform";
import { digestOfBytes } from "@cache-registry/core/verify";
import { describe, expect, it } from "vitest";
import { closureOf, type LoadManifest } from "./image-closure.ts";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
const documents = new Map<Digest, Buffer>();
const platforms = (...names: string[]) => names.map(parsePlatform).filter((platform) => platform !== undefined);

function document(value: object): { digest: Digest; size: number; mediaType: string } {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...value }));
  const digest = digestOfBytes(bytes);
  documents.set(digest, bytes);
  return { digest, size: bytes.length, mediaType: (value as { mediaType: string }).mediaType };
}

const blob = (name: string) => ({ mediaType: "x/y", digest: digestOfBytes(Buffer.from(name)), size: name.length });
const image = (name: string) =>
  document({ mediaType: MANIFEST, config: blob(`${name} config`), layers: [blob("base"), blob(name)] });
const index = (manifests: object[]) => document({ mediaType: INDEX, manifests });
const on = (architecture: string, descriptor: object) => ({ ...descriptor, platform: { os: "linux", architecture } });

let loads = 0;
const load: LoadManifest = async (digest) => {
  loads += 1;
  const bytes = documents.get(digest);
  const { mediaType } = JSON.parse(bytes?.toString() ?? "{}") as { mediaType: string };
  const record = { digest, mediaType, size: 0, subject: null, artifactType: null, annotations: {} };
  return bytes && { record, bytes };
};

describe("closureOf", () => {
  it("is config and layers of an image, each once", async () => {
    const { digest } = image("app");
    const closure = await closureOf(digest, platforms("linux/amd64"), load);
    expect(closure?.manifests).toEqual([digest]);
    expect(closure?.blobs.map(({ size }) => size)).toEqual(["app config".length, "base".length, "app".length]);
    expect(closure?.platforms).toEqual([]);
  });

  it("follows the wanted platforms of an index and what has none", async () => {
    const { digest } = index([on("amd64", image("amd")), on("arm64", image("arm")), image("everywhere")]);
    const closure = await closureOf(digest, platforms("linux/arm64"), load);
    expect(closure?.platforms).toEqual(["linux/arm64"]);
    expect(closure?.manifests).toHaveLength(3);
    expect((await closureOf(digest, [], load))?.platforms).toEqual(["linux/amd64", "linux/arm64"]);
  });

  it("fails when an index offers none of them", async () => {
    const { digest } = index([on("amd64", image("amd"))]);
    await expect(closureOf(digest, platforms("linux/s390x"), load)).rejects.toThrow(
      "none of the platforms linux/s390x",
    );
  });

  it("is undefined while a manifest is missing", async () => {
    const missing = { mediaType: MANIFEST, digest: parseDigest(`sha256:${"0".repeat(64)}`), size: 1 };
    expect(await closureOf(index([missing]).digest, [], load)).toBeUndefined();
  });

  it("looks at each manifest once, however often it is named", async () => {
    let bomb = image("small");
    for (let depth = 0; depth < 4; depth += 1) bomb = index(Array(50).fill(bomb));
    loads = 0;
    const closure = await closureOf(bomb.digest, [], load);
    expect([closure?.manifests.length, loads]).toEqual([5, 5]);
  });

  it("refuses to go deep or wide without end", async () => {
    let nested = image("deep");
    for (let depth = 0; depth < 5; depth += 1) nested = index([nested]);
    await expect(closureOf(nested.digest, [], load)).rejects.toThrow("nested deeper");
    const wide = index(Array.from({ length: 1_001 }, (_, number) => image(`image ${number}`)));
    await expect(closureOf(wide.digest, [], load)).rejects.toThrow("too many manifests");
  });
});
