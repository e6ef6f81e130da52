import { mkdtemp, open, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { type ClientTools, clientTools } from "../support/client-tools.ts";
import { eventually } from "../support/eventually.ts";
import { createRegistryApi, type RegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, runCommand, startRegistryProcess } from "../support/registry-process.ts";
import { type Image, type Index, makeImage, makeIndex } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

let upstream: UpstreamRegistry;
let online: RegistryProcess;
let isolated: RegistryProcess;
let isolatedApi: RegistryApi;
let work: string;
let tool: ClientTools;
const REPOSITORY = `${UPSTREAM_NAME}/library/app`;

beforeAll(async () => {
  upstream = await startUpstreamRegistry();
  online = await startRegistryProcess(upstream.configuration());
  work = await mkdtemp(join(tmpdir(), "creg-air-gap-"));
  tool = await clientTools(["crane"], work);
});
afterAll(async () => {
  await online?.dispose();
  await upstream?.dispose();
  await rm(work, { recursive: true, force: true });
});
beforeEach(async () => {
  isolated = await startRegistryProcess({ ...upstream.configuration({ tagTtl: "0s" }), airGapped: true });
  isolatedApi = createRegistryApi(isolated.url);
});
afterEach(() => isolated?.dispose());

function command(registry: RegistryProcess, name: string, ...args: string[]) {
  return runCommand([name, "--config", join(registry.directory, "registry.yaml"), ...args], { cwd: work });
}

async function run(registry: RegistryProcess, name: string, ...args: string[]): Promise<string> {
  const running = command(registry, name, ...args);
  expect(await running.exited, running.output()).toBe(0);
  return running.output();
}

async function publish(tag: string, image: Image | Index): Promise<string> {
  await upstream.api.pushImage("library/app", tag, image);
  return `${REPOSITORY}:${tag}`;
}

async function expectHeld({ manifest, blobs }: Image, reference: string = manifest.digest): Promise<void> {
  const answer = await isolatedApi.request("GET", `${REPOSITORY}/manifests/${reference}`);
  expect([answer.status, answer.headers.get("warning")]).toEqual([200, null]);
  expect(Buffer.from(await answer.arrayBuffer()).equals(manifest.bytes)).toBe(true);
  for (const { digest, bytes } of blobs) {
    expect((await isolatedApi.get(`${REPOSITORY}/blobs/${digest}`)).equals(bytes)).toBe(true);
  }
}

it("one file carries images to a cluster without any Internet, with their signatures, and nobody asks an upstream", async () => {
  const [amd64, arm64] = [makeImage([300_000]), makeImage([200_000])];
  const index = makeIndex({ amd64, arm64 });
  const reference = await publish("multi", index);
  const subject = {
    mediaType: index.manifest.mediaType,
    digest: index.manifest.digest,
    size: index.manifest.bytes.length,
  };
  const signature = makeImage([500], { artifactType: "application/vnd.example.signature", subject });
  // The fallback of the spec, as distribution has no referrers API.
  const fallback = index.manifest.digest.replace(":", "-");
  await upstream.api.pushImage("library/app", fallback, makeIndex({ amd64: signature }));

  const tagged = makeImage([600]);
  await upstream.api.pushImage("library/app", `${fallback}.sig`, tagged);

  const file = join(work, "one.tar");
  await run(
    online,
    "export",
    "--images",
    reference,
    "--images",
    `${REPOSITORY}@${arm64.manifest.digest}`,
    "--referrers",
    "--output",
    file,
  );
  const before = upstream.requests(/./);
  const output = await run(isolated, "import", "--input", file);
  expect(output).toContain("3 images imported, pinned for the owner import:one");

  const host = new URL(isolated.url).host;
  expect(await tool("crane", ["digest", `${host}/${reference}`])).toBe(index.manifest.digest);
  await tool("crane", ["pull", "--format", "oci", `${host}/${reference}`, join(work, "by-tag")]);
  await tool("crane", [
    "pull",
    "--format",
    "oci",
    `${host}/${REPOSITORY}@${amd64.manifest.digest}`,
    join(work, "by-digest"),
  ]);
  expect(await readdir(join(work, "by-tag", "blobs", "sha256"))).toContain(arm64.blobs[1]?.digest.slice(7));
  for (const image of [amd64, arm64, signature]) await expectHeld(image);
  await expectHeld(tagged, `${fallback}.sig`);
  const referrers = await isolatedApi.request("GET", `${REPOSITORY}/referrers/${index.manifest.digest}`);
  expect(await referrers.json()).toMatchObject({ manifests: [{ digest: signature.manifest.digest }] });
  expect((await isolatedApi.request("GET", `${REPOSITORY}/manifests/unknown`)).status).toBe(404);
  expect(
    (await isolatedApi.request("PUT", `${REPOSITORY}/manifests/mine`, { body: amd64.manifest.bytes })).status,
  ).toBe(405);
  expect(upstream.requests(/./)).toBe(before);

  const listed = await fetch(`${isolated.management}/api/v1/images?owner=import:one`);
  expect(await listed.json()).toMatchObject({
    images: [
      { reference, pinnedUntil: Date.UTC(9999, 11, 31) },
      { reference: `${REPOSITORY}:${fallback}.sig` },
      { reference: `${REPOSITORY}@${arm64.manifest.digest}` },
    ],
  });
  const released = `${isolated.management}/api/v1/images/${encodeURIComponent(reference)}?owner=import:one`;
  expect((await fetch(released, { method: "DELETE" })).status).toBe(204);
  expect((await isolatedApi.request("GET", `${REPOSITORY}/manifests/multi`)).status).toBe(404);
});

it("an interrupted export goes on in the same file, and an interrupted import sends the rest", async () => {
  const image = makeImage(Array.from({ length: 12 }, () => 1_000_000));
  const reference = await publish("resumed", image);
  const file = join(work, "resumed.tar");
  const exporting = command(online, "export", "--images", reference, "--output", file);
  await eventually(async () => expect((await stat(file)).size).toBeGreaterThan(2_000_000));
  exporting.child.kill("SIGKILL");
  await exporting.exited;
  // In the middle of a blob.
  await truncate(file, 2_500_000);
  const unfinished = command(isolated, "import", "--input", file);
  expect(await unfinished.exited, unfinished.output()).toBe(1);
  const again = await run(online, "export", "--images", reference, "--output", file);
  expect(again).toContain("1 images in");
  expect(upstream.fetchedTwice()).toEqual([]);

  const importing = command(isolated, "import", "--input", file);
  await eventually(async () => {
    const stats = (await (await fetch(`${isolated.management}/api/v1/stats`)).json()) as { blobs: number };
    expect(stats.blobs).toBeGreaterThan(1);
  });
  importing.child.kill("SIGKILL");
  await importing.exited;
  await run(isolated, "import", "--input", file, "--name", "resumed");
  await expectHeld(image, "resumed");
});

it("a damaged archive is refused naming the digest, and changes nothing", async () => {
  const [good, bad] = [makeImage([50_000]), makeImage([60_000])];
  const references = [await publish("good", good), await publish("bad", bad)];
  const file = join(work, "damaged.tar");
  await run(online, "export", ...references.flatMap((reference) => ["--images", reference]), "--output", file);
  const layer = bad.blobs[1];
  const archive = await readFile(file);
  const handle = await open(file, "r+");
  await handle.write(Buffer.from("X"), 0, 1, archive.indexOf(layer?.bytes ?? "") + 30_000);
  await handle.close();

  const refused = command(isolated, "import", "--input", file);
  expect(await refused.exited).toBe(1);
  expect(refused.output()).toContain(`${layer?.digest}: the bytes are others than the digest says`);
  expect(await (await fetch(`${isolated.management}/api/v1/stats`)).json()).toMatchObject({ blobs: 0, manifests: 0 });

  // The export finds it, too, and writes what is not whole once more.
  await run(online, "export", ...references.flatMap((reference) => ["--images", reference]), "--output", file);
  await run(isolated, "import", "--input", file);
  await expectHeld(bad, "bad");
});

it("everything cached, everything used, one platform, a folder; what crane wrote, under a name of one's own", async () => {
  const [amd64, arm64] = [makeImage([30_000]), makeImage([20_000])];
  const reference = await publish("platforms", makeIndex({ amd64, arm64 }));
  const folder = join(work, "platform");
  await run(online, "export", "--images", reference, "--platform", "linux/arm64", "--output", folder);
  const written = await readdir(join(folder, "blobs", "sha256"));
  expect(written).toContain(arm64.manifest.digest.slice(7));
  expect(written).not.toContain(amd64.manifest.digest.slice(7));
  await run(isolated, "import", "--input", folder);
  await expectHeld(arm64);

  const all = await run(online, "export", "--all-cached", "--output", join(work, "all"));
  expect(all).toContain(reference);
  // Only what is held: the other platform was never asked for.
  expect(await readdir(join(work, "all", "blobs", "sha256"))).not.toContain(amd64.manifest.digest.slice(7));
  const used = await run(online, "export", "--used", "--output", join(work, "used.tar"));
  expect(used).toContain("0 images in");

  const other = makeImage([10_000]);
  await publish("crane", other);
  const direct = `${new URL(upstream.proxy.url).host}/library/app:crane`;
  const layout = join(work, "crane");
  await tool("crane", ["pull", "--insecure", "--format", "oci", direct, layout]);
  const nameless = command(isolated, "import", "--input", layout);
  expect(await nameless.exited).toBe(1);
  expect(nameless.output()).toContain("--as");
  await run(isolated, "import", "--input", layout, "--as", `${REPOSITORY}:renamed`);
  await expectHeld(other, "renamed");
});

it("names what is wrong with a command line, a file or a server", async () => {
  const wrong = command(online, "export", "--images", "UPPER", "--platform", "linux");
  expect(await wrong.exited).toBe(2);
  for (const word of ["--images: UPPER", "--platform:", "--output:"]) expect(wrong.output()).toContain(word);
  const absent = command(isolated, "import", "--input", join(work, "absent.tar"));
  expect(await absent.exited).toBe(1);
  expect(absent.output()).toContain("cannot be read (ENOENT)");
  const unknown = command(online, "export", "--images", `${REPOSITORY}:none`, "--output", join(work, "none.tar"));
  expect(await unknown.exited).toBe(1);
  expect(unknown.output()).toContain(`not exported: ${REPOSITORY}:none: MANIFEST_UNKNOWN`);
});
