import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeTestImage } from "../../hack/cluster/test-image.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { errorOf } from "../support/registry-api.ts";
import { requireImage } from "../support/replicas.ts";
import { useReplicas } from "../support/replicas-scene.ts";
import { digestOf, makeImage, randomBlob } from "../support/test-content.ts";
import { UPSTREAM_NAME } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
const run = promisify(execFile);
let work: string;
const scene = useReplicas({ count: 3, folder: "replicas", configuration: { log: { level: "debug", access: true } } });
const { api, registry } = scene;

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "creg-replicas-clients-"));
});
afterAll(() => rm(work, { recursive: true, force: true }));

async function tool(name: "crane" | "regctl", args: readonly string[]): Promise<string> {
  const tools = await ensureTools([name], { log: () => {} });
  const env = { HOME: work, DOCKER_CONFIG: join(work, ".docker"), PATH: process.env.PATH };
  return (await run(tools[name] ?? name, [...args], { env })).stdout.trim();
}

/** Every object is what its name says. */
async function expectStoreIntact(): Promise<void> {
  const folder = join(scene.s3.bucket, "replicas", "blobs", "sha256");
  for (const name of await readdir(folder)) {
    expect(`sha256:${name.split(".")[0]}`).toBe(digestOf(await readFile(join(folder, name))));
  }
}

describe("upload sessions", () => {
  const octets = { "content-type": "application/octet-stream" };

  it("go on at any replica", async () => {
    const [first, second, third] = [randomBlob(3 * MiB), randomBlob(2 * MiB), randomBlob(1_000)];
    const whole = Buffer.concat([first.bytes, second.bytes, third.bytes]);
    const digest = digestOf(whole);
    const begun = await api(0).request("POST", "team/session/blobs/uploads/");
    expect(begun.status).toBe(202);
    const location = begun.headers.get("location") ?? "";
    let offset = 0;
    for (const [index, { bytes }] of [first, second].entries()) {
      const headers = { ...octets, "content-range": `${offset}-${offset + bytes.length - 1}` };
      const answer = await api(index + 1).request("PATCH", location, { body: bytes, headers });
      offset += bytes.length;
      expect([answer.status, answer.headers.get("location"), answer.headers.get("range")]).toEqual([
        202,
        location,
        `0-${offset - 1}`,
      ]);
    }
    const status = await api(2).request("GET", location);
    expect([status.status, status.headers.get("range")]).toEqual([204, `0-${offset - 1}`]);
    const early = { ...octets, "content-range": "0-999" };
    const refused = await api(1).request("PATCH", location, { body: third.bytes, headers: early });
    expect([refused.status, (await errorOf(refused)).code]).toEqual([416, "RANGE_INVALID"]);
    const ended = await api(2).request("PUT", `${location}?digest=${digest}`, { body: third.bytes, headers: octets });
    expect([ended.status, ended.headers.get("location")]).toEqual([201, `/v2/team/session/blobs/${digest}`]);
    for (const { api: replica } of scene.replicas.all) {
      expect((await replica.get(`team/session/blobs/${digest}`)).equals(whole)).toBe(true);
    }
    expect((await api(1).request("GET", location)).status).toBe(404);
  });

  it("are streamed through without being held, and cancelled from anywhere", async () => {
    const begun = await api(1).request("POST", "team/large/blobs/uploads/");
    const location = begun.headers.get("location") ?? "";
    const before = registry(0).residentBytes();
    const chunk = Buffer.alloc(4 * MiB, 7);
    let peak = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        peak = Math.max(peak, registry(0).residentBytes());
        if (pulled++ < 60) controller.enqueue(new Uint8Array(chunk));
        else controller.close();
      },
    });
    let pulled = 0;
    const sent = await api(0).request("PATCH", location, { body, headers: octets });
    expect([sent.status, sent.headers.get("range")]).toEqual([202, `0-${60 * chunk.length - 1}`]);
    expect(peak - before).toBeLessThan(100 * MiB);
    expect((await api(2).request("DELETE", location)).status).toBe(204);
    expect((await api(0).request("GET", location)).status).toBe(404);
    expect(await readdir(join(registry(1).data, "spool", "uploads"))).toEqual([]);
  });

  it("are unknown when nobody has them", async () => {
    const id = "00000000-0000-4000-8000-000000000000";
    for (const unknown of [id, `0123456789ab-${id}`]) {
      const answer = await api(0).request("PATCH", `team/app/blobs/uploads/${unknown}`, { body: "x", headers: octets });
      expect([answer.status, (await errorOf(answer)).code]).toEqual([404, "BLOB_UPLOAD_UNKNOWN"]);
    }
  });
});

describe("clients at several replicas", () => {
  it("push with parallel layers and pull what others pushed", async () => {
    const host = new URL(scene.replicas.balancer.url).host;
    const image = await makeTestImage({ directory: join(work, "image"), layerBytes: 20 * MiB, log: () => {} });
    const reference = `${host}/clients/app:crane`;
    await tool("crane", ["push", image.directory, reference]);
    await tool("crane", ["validate", "--remote", reference]);
    await tool("regctl", ["registry", "set", "--tls", "disabled", host]);
    await tool("regctl", ["image", "copy", reference, `${host}/clients/copy:regctl`]);
    for (const {
      registry: { url },
    } of scene.replicas.all) {
      const own = `${new URL(url).host}/clients/copy:regctl`;
      expect(await tool("crane", ["digest", own])).toBe(image.digest);
      await tool("crane", ["validate", "--remote", own]);
    }
    await Promise.all(
      Array.from({ length: 6 }, async (_, index) => {
        const pushed = makeImage([2 * MiB, 300_000, 17 * MiB]);
        await scene.replicas.any.pushImage("clients/raw", `v${index}`, pushed);
        await requireImage(scene.replicas.any, "clients/raw", pushed);
      }),
    );
    await expectStoreIntact();
  });
});

describe("a cold image", () => {
  it("is fetched once for all clients of all replicas", async () => {
    const image = makeImage([64 * MiB]);
    await scene.upstream.api.pushImage("replicas/cold", "v1", image);
    scene.upstream.proxy.reset();
    scene.upstream.proxy.throttle(20e6);
    const name = `${UPSTREAM_NAME}/replicas/cold`;
    const layer = image.blobs[1] ?? image.manifest;
    const pulls = Array.from({ length: 12 }, async (_, index) => {
      await api(index % 3).get(`${name}/manifests/v1`);
      return download(`${registry(index % 3).url}/v2/${name}/blobs/${layer.digest}`);
    });
    const got = await Promise.all(pulls);
    scene.upstream.proxy.throttle(undefined);
    for (const { digest, cut, status } of got) expect([status, digest, cut]).toEqual([200, layer.digest, false]);
    // As it comes: nobody waited for the whole before his first byte.
    for (const { firstByte } of got) expect(firstByte).toBeLessThan(3_000);
    // The manifest neither, although all asked for the tag at the same moment.
    expect(scene.upstream.fetchedTwice()).toEqual([]);
    await Promise.all(scene.replicas.all.map((replica) => requireImage(replica.api, name, image)));
    expect(scene.upstream.fetchedTwice().filter((key) => key.includes("/blobs/"))).toEqual([]);
    await eventually(async () => {
      for (const {
        registry: { data },
      } of scene.replicas.all)
        expect(await readdir(join(data, "spool", "ingest"))).toEqual([]);
    });
  });
});
