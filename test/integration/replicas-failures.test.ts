import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { download } from "../support/download.ts";
import { eventually } from "../support/eventually.ts";
import { errorOf } from "../support/registry-api.ts";
import { requireImage } from "../support/replicas.ts";
import { useReplicas } from "../support/replicas-scene.ts";
import { digestOf, type Image, makeImage, randomBlob } from "../support/test-content.ts";
import { UPSTREAM_NAME } from "../support/upstream-registry.ts";

const MiB = 2 ** 20;
const scene = useReplicas({ count: 3, folder: "failures", configuration: { log: { level: "debug", access: true } } });
const { api, registry } = scene;

describe("a replica that is killed", () => {
  it("in the middle of a cold fetch: another goes on from there, and clients elsewhere notice nothing", async () => {
    const image = makeImage([48 * MiB]);
    await scene.upstream.api.pushImage("replicas/killed", "v1", image);
    const name = `${UPSTREAM_NAME}/replicas/killed`;
    const layer = image.blobs[1] ?? image.manifest;
    for (const index of [0, 1, 2]) await api(index).get(`${name}/manifests/v1`);
    scene.upstream.proxy.reset();
    scene.upstream.proxy.throttle(8e6);
    const url = (index: number) => `${registry(index).url}/v2/${name}/blobs/${layer.digest}`;
    const dying = download(url(0));
    await eventually(() => {
      expect(scene.upstream.requests(/^GET .*\/blobs\//)).toBe(1);
    });
    const surviving = [1, 2, 1, 2].map((index) => download(url(index)));
    await pause(2_000);
    await registry(0).kill();
    expect((await dying).cut).toBe(true);
    for (const { status, digest, cut } of await Promise.all(surviving)) {
      expect([status, digest, cut]).toEqual([200, layer.digest, false]);
    }
    const blobs = Object.entries(scene.upstream.proxy.counts()).filter(([key]) => /^GET .*\/blobs\//.test(key));
    const [[, { requests, bytes }]] = blobs as [[string, { requests: number; bytes: number }]];
    // Once more, and not from the beginning.
    expect(requests).toBe(2);
    expect(bytes).toBeLessThan(1.4 * layer.bytes.length);
    scene.upstream.proxy.throttle(undefined);
    await registry(0).start();
    for (const { api: replica } of scene.replicas.all) await requireImage(replica, name, image);
    expect(scene.upstream.requests(/^GET .*\/blobs\/.*/)).toBe(2 + 1);
  });

  it("with upload sessions: they are unavailable, then unknown; what it acknowledged stays", async () => {
    const kept = makeImage([200_000]);
    await api(1).pushImage("team/kept", "v1", kept);
    const begun = await api(1).request("POST", "team/app/blobs/uploads/");
    const location = begun.headers.get("location") ?? "";
    const patch = () => api(0).request("PATCH", location, { body: "bytes" });
    expect((await patch()).status).toBe(202);
    await registry(1).kill();
    const soon = await patch();
    expect([soon.status, soon.headers.get("retry-after")]).toEqual([503, "1"]);
    await eventually(async () => {
      const answer = await patch();
      expect([answer.status, (await errorOf(answer)).code]).toEqual([404, "BLOB_UPLOAD_UNKNOWN"]);
    });
    for (const index of [0, 2]) await requireImage(api(index), "team/kept", kept);
    await registry(1).start();
    expect((await patch()).status).toBe(404);
  });
});

describe("without the database", () => {
  /** Within a second, as a client sees it. */
  async function expectUnavailable(request: Promise<Response>): Promise<void> {
    const began = performance.now();
    const answer = await request;
    expect(performance.now() - began).toBeLessThan(1_000);
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
    await answer.body?.cancel();
  }

  it("known content is served, the rest is refused at once, nothing is acknowledged; then all is well", async () => {
    const [image, unknown] = [makeImage([3 * MiB]), makeImage([1_000])];
    await api(0).pushImage("away/known", "v1", image);
    await api(0).pushImage("away/unknown", "v1", unknown);
    const cached = makeImage([1 * MiB]);
    await scene.upstream.api.pushImage("replicas/known", "v1", cached);
    const name = `${UPSTREAM_NAME}/replicas/known`;
    for (const index of [1, 2]) {
      await api(index).get("away/known/manifests/v1");
      await requireImage(api(index), "away/known", image);
      for (const _time of ["fetched", "served"]) {
        await api(index).get(`${name}/manifests/v1`);
        await requireImage(api(index), name, cached);
      }
    }
    const session = (await api(1).request("POST", "away/push/blobs/uploads/")).headers.get("location") ?? "";
    const blob = randomBlob(100_000);
    await scene.postgres.stop();
    try {
      for (const index of [1, 2]) {
        expect(digestOf(await api(index).get("away/known/manifests/v1"))).toBe(image.manifest.digest);
        await requireImage(api(index), "away/known", image);
        expect(digestOf(await api(index).get(`${name}/manifests/v1`))).toBe(cached.manifest.digest);
        await requireImage(api(index), name, cached);
        await expectUnavailable(api(index).request("GET", "away/unknown/manifests/v1"));
        await expectUnavailable(api(index).request("GET", `${name}/manifests/v2`));
        await expectUnavailable(api(index).request("GET", `away/unknown/blobs/${unknown.blobs[1]?.digest}`));
        await expectUnavailable(api(index).request("POST", "away/push/blobs/uploads/"));
        await expectUnavailable(
          api(index).request("PUT", `${session}?digest=${blob.digest}`, { body: Buffer.from(blob.bytes) }),
        );
        await expectUnavailable(api(index).putManifest("away/push", "v1", unknown.manifest));
        await expectUnavailable(api(index).request("DELETE", "away/known/manifests/v1"));
      }
    } finally {
      await scene.postgres.start();
    }
    await eventually(async () => {
      for (const { api: replica } of scene.replicas.all) await requireImage(replica, "away/unknown", unknown);
    });
    const after = makeImage([500_000]);
    await scene.replicas.any.pushImage("away/push", "v1", after);
    for (const { api: replica } of scene.replicas.all) await requireImage(replica, "away/push", after);
  });
});

describe("pushes and pulls at all replicas", () => {
  it("lose nothing acknowledged and show nothing wrong while replicas are killed and the database comes and goes", async () => {
    const acknowledged: { repository: string; tag: string; image: Image }[] = [];
    const cold: Image[] = [];
    for (let index = 0; index < 4; index += 1) {
      const image = makeImage([2 * MiB, 100_000]);
      await scene.upstream.api.pushImage(`replicas/mixed-${index}`, "v1", image);
      cold.push(image);
    }
    const wrong: string[] = [];
    let going = true;
    let counter = 0;
    const push = async (worker: number): Promise<void> => {
      while (going) {
        const image = makeImage([300_000, 40_000]);
        const [repository, tag] = [`mixed/app-${worker}`, `v${counter++}`];
        const done = await scene.replicas.any.pushImage(repository, tag, image).then(
          () => true,
          () => false,
        );
        if (done) acknowledged.push({ repository, tag, image });
        else await pause(50);
      }
    };
    const check = async (repository: string, { digest, bytes }: { digest: string; bytes: Buffer }): Promise<void> => {
      const got = await download(`${scene.replicas.balancer.url}/v2/${repository}/blobs/${digest}`).catch(
        () => undefined,
      );
      if (got?.status === 200 && !got.cut && got.digest !== digest) wrong.push(`${repository} ${digest}`);
      if (got?.status === 200 && got.size > bytes.length) wrong.push(`${repository} ${digest} is too long`);
    };
    const pull = async (): Promise<void> => {
      while (going) {
        const known = acknowledged[Math.floor(Math.random() * acknowledged.length)];
        for (const blob of known?.image.blobs ?? []) await check(known?.repository ?? "", blob);
        const index = Math.floor(Math.random() * cold.length);
        const name = `${UPSTREAM_NAME}/replicas/mixed-${index}`;
        await scene.replicas.any.request("GET", `${name}/manifests/v1`).then(
          (answer) => answer.arrayBuffer(),
          () => undefined,
        );
        for (const blob of cold[index]?.blobs ?? []) await check(name, blob);
      }
    };
    const load = Promise.all([push(0), push(1), push(2), pull(), pull()]);
    await pause(3_000);
    await registry(2).kill();
    await pause(2_000);
    await scene.postgres.stop();
    await pause(2_000);
    await scene.postgres.start();
    await registry(2).start();
    await pause(3_000);
    await registry(0).kill();
    await registry(0).start();
    await pause(2_000);
    going = false;
    await load;
    expect(wrong).toEqual([]);
    expect(acknowledged.length).toBeGreaterThan(20);
    for (const [index, { repository, tag, image }] of acknowledged.entries()) {
      const replica = api(index % 3);
      expect(digestOf(await replica.get(`${repository}/manifests/${tag}`))).toBe(image.manifest.digest);
      await requireImage(replica, repository, image);
    }
    for (const [index, image] of cold.entries()) {
      const name = `${UPSTREAM_NAME}/replicas/mixed-${index}`;
      await api(index % 3).get(`${name}/manifests/v1`);
      await requireImage(api(index % 3), name, image);
    }
  });
});
