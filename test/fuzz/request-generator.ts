import type { Random } from "@cache-registry/core/testing/seeded-random";
import { type Image, INDEX_TYPE, MANIFEST_TYPE } from "../support/test-content.ts";

/** What the generator may refer to, so that its requests get past the first check. */
export type Known = { readonly repository: string; readonly tag: string; readonly image: Image };

const METHODS = ["GET", "GET", "GET", "HEAD", "PUT", "PUT", "POST", "POST", "PATCH", "DELETE", "BREW"] as const;
const ALPHABET = "abcXYZ019-_.:/%@?&=+~ \u0001\u007f\u00e9\"'<>\\[]{}";
const VALUES = [
  "",
  "0",
  "-1",
  "1",
  "9223372036854775807",
  "99999999999999999999",
  "abc",
  "a,b",
  "*",
  "..",
  "%00",
] as const;
const TYPES = [
  MANIFEST_TYPE,
  INDEX_TYPE,
  "application/json",
  "text/plain",
  "multipart/form-data; boundary=x",
  "",
] as const;

/** One HTTP/1.1 request as bytes: mostly well formed and about what is there, with faults of every kind mixed in. */
export function makeRequest(random: Random, known: Known, sessions: readonly string[]): Buffer {
  if (random.chance(0.1)) return push(random, known);
  const body = bodyOf(random, known);
  const headers = headersOf(random, body);
  const head = `${random.pick(METHODS)} ${targetOf(random, known, sessions)} HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`;
  const request = Buffer.concat([Buffer.from(head, "latin1"), body]);
  return random.chance(0.05) ? damaged(random, request) : request;
}

/** What a client would send: a blob in one request, or the manifest. */
function push(random: Random, { repository, tag, image }: Known): Buffer {
  const { bytes, digest } = random.pick([image.blobs[0] ?? image.manifest, image.blobs[1] ?? image.manifest]);
  const blob = [`POST /v2/${repository}/blobs/uploads/?digest=${digest}`, "application/octet-stream", bytes] as const;
  const manifest = [`PUT /v2/${repository}/manifests/${tag}`, MANIFEST_TYPE, image.manifest.bytes] as const;
  const [line, type, body] = random.pick([blob, blob, manifest]);
  const head = `${line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

function targetOf(random: Random, known: Known, sessions: readonly string[]): string {
  const name = random.pick([known.repository, known.repository, "fuzz/new", "docker.io/library/x", oddity(random)]);
  const digests = known.image.blobs.map(({ digest }) => digest);
  const digest = random.pick([
    digests[0] ?? "",
    known.image.manifest.digest,
    `sha256:${"0".repeat(64)}`,
    oddity(random),
  ]);
  const session = sessions[random.below(Math.max(1, sessions.length))] ?? `/v2/${name}/blobs/uploads/none`;
  const path = random.pick([
    `/v2/${name}/manifests/${random.pick([known.tag, "fuzz", digest, oddity(random)])}`,
    `/v2/${name}/blobs/${digest}`,
    `/v2/${name}/blobs/uploads/`,
    session,
    `/v2/${name}/referrers/${digest}`,
    `/v2/${name}/tags/list`,
    "/v2/_catalog",
    "/v2/",
    `/${oddity(random)}`,
  ]);
  return random.chance(0.5) ? path : `${path}?${queryOf(random, digest)}`;
}

function queryOf(random: Random, digest: string): string {
  const names = ["digest", "mount", "from", "n", "last", "ns", "tag", "digest-algorithm", "artifactType", "x"] as const;
  const parameters = Array.from({ length: 1 + random.below(4) }, () => {
    const value = random.pick([digest, random.pick(VALUES), encodeURIComponent(oddity(random))]);
    return `${random.pick(names)}=${value}`;
  });
  return parameters.join("&");
}

function headersOf(random: Random, body: Buffer): string[] {
  const headers = ["Host: fuzz.example", "Connection: close"];
  if (body.length > 0 || random.chance(0.2)) headers.push(`Content-Length: ${body.length}`);
  const optional: readonly (readonly [string, string])[] = [
    ["Content-Type", random.pick(TYPES)],
    ["Range", random.pick(["bytes=0-", "bytes=5-1", "bytes=-0", "bytes=0-0,2-3", `bytes=${"9".repeat(30)}-`, "x"])],
    ["Content-Range", random.pick(["0-9", "5-1", "bytes 0-1/2", "0-99999999999999999999", "x"])],
    ["If-None-Match", random.pick(['"x"', "*", 'W/"y", "z"', ","])],
    ["Authorization", random.pick(["Basic !!!", "Basic Og==", "Bearer x", "Basic", "Digest a=b"])],
    ["Accept", random.pick([MANIFEST_TYPE, "*/*;q=0", ",,,", ""])],
    ["X-Forwarded-Host", "evil.example"],
    ["OCI-Namespace", "evil.example"],
  ];
  for (const [name, value] of optional) if (random.chance(0.2)) headers.push(`${name}: ${value}`);
  return headers;
}

function bodyOf(random: Random, known: Known): Buffer {
  const kind = random.below(10);
  if (kind < 5) return Buffer.alloc(0);
  if (kind === 5) return Buffer.from(random.text(ALPHABET, random.below(2_000)));
  if (kind === 6) return known.image.blobs[0]?.bytes ?? Buffer.alloc(0);
  if (kind === 7) return known.image.manifest.bytes;
  if (kind === 8) return damaged(random, known.image.manifest.bytes);
  return Buffer.from(JSON.stringify(value(random, 4)));
}

/** A JSON value of any shape, with the keys of manifests. */
function value(random: Random, depth: number): unknown {
  const keys = [
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "subject",
    "digest",
    "size",
    "annotations",
  ] as const;
  const kind = random.below(depth > 0 ? 8 : 5);
  if (kind === 0) return random.pick([0, 1, 2, -1, 1.5, 1e300]);
  if (kind === 1) return random.pick(TYPES);
  if (kind === 2) return random.pick([`sha256:${"a".repeat(64)}`, "sha256:", oddity(random)]);
  if (kind === 3) return null;
  if (kind === 4) return random.chance(0.5);
  if (kind === 5) return Array.from({ length: random.below(4) }, () => value(random, depth - 1));
  return Object.fromEntries(
    Array.from({ length: random.below(7) }, () => [random.pick(keys), value(random, depth - 1)]),
  );
}

function oddity(random: Random): string {
  return random.pick([
    random.text(ALPHABET, random.below(40)).replaceAll(/[\r\n ]/g, "_"),
    "..%2f..%2fetc",
    "a".repeat(random.below(600)),
    "%e2%80%ae",
    "library/../x",
  ]);
}

/** A few bytes of it changed, removed or doubled. */
function damaged(random: Random, bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  for (let changes = 1 + random.below(5); changes > 0 && copy.length > 0; changes -= 1) {
    copy[random.below(copy.length)] = random.below(256);
  }
  const cut = random.below(copy.length + 1);
  return random.chance(0.3) ? Buffer.concat([copy.subarray(0, cut), copy.subarray(Math.max(0, cut - 3))]) : copy;
}
