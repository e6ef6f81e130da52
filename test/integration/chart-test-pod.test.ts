/** What `helm test` runs, as the chart renders it, beside a real registry process with a real upstream. */
import { execFile } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { render } from "../chart/helm.ts";
import type { Container, Manifest } from "../chart/manifests.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { makeImage, makeIndex } from "../support/test-content.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

type TestPod = Manifest & { readonly spec: { readonly containers: readonly [Container] } };

let upstream: UpstreamRegistry;
let registry: RegistryProcess;
const INDEX = makeIndex({ amd64: makeImage([2_000, 500]), arm64: makeImage() });

beforeAll(async () => {
  upstream = await startUpstreamRegistry();
  await upstream.api.pushImage("library/probe", "v1", INDEX);
  registry = await startRegistryProcess(upstream.configuration());
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.dispose();
});

/** Runs the pod's command with node, on this machine. */
async function runTest(values: object, url = registry.url): Promise<{ code: number; output: string }> {
  const { spec } = (await render({ values: { test: values } })).only<TestPod>("Pod");
  const { command = [], args, env = [] } = spec.containers[0];
  const given = Object.fromEntries(env.map(({ name, value }) => [name, value]));
  expect(given.REGISTRY).toBe("http://cache-registry-registry.cache-registry-system.svc:5000");
  return new Promise((resolve) => {
    const options = { env: { ...given, REGISTRY: url, TIMEOUT: "1" } };
    execFile(process.execPath, [...command.slice(1), ...args], options, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr }),
    );
  });
}

describe("helm test", () => {
  it("pulls an image through, once, and checks each digest", async () => {
    const image = `${UPSTREAM_NAME}/library/probe:v1`;
    const { code, output } = await runTest({ image });
    expect(output).toContain(INDEX.manifest.digest);
    expect(output).not.toContain("FAILED");
    expect(code).toBe(0);
    // tag, platform, config, a layer, and the digest of the tag
    expect(output.trim().split("\n")).toHaveLength(5);
    expect(upstream.fetchedTwice()).toEqual([]);
    expect((await runTest({ image: `${image}@${INDEX.manifest.digest}` })).code).toBe(0);
  });

  it("fails with a sentence when the image is not there or not what its digest says", async () => {
    const absent = await runTest({ image: `${UPSTREAM_NAME}/library/absent:v1` });
    expect(absent).toMatchObject({ code: 1, output: expect.stringMatching(/^FAILED .*absent.*404/m) });
    const digest = makeImage().manifest.digest;
    const other = await runTest({ image: `${UPSTREAM_NAME}/library/probe@${digest}` });
    expect(other).toMatchObject({ code: 1, output: expect.stringMatching(/^FAILED /m) });
  });

  it("fails when nobody answers, and only asks that where there is nothing to pull", async () => {
    expect(await runTest({ image: "" })).toMatchObject({
      code: 0,
      output: expect.stringContaining("the registry answers"),
    });
    const { code, output } = await runTest({ image: "" }, "http://127.0.0.1:9");
    expect(code).toBe(1);
    expect(output).toMatch(/^FAILED \/v2\/: TypeError: fetch failed/m);
  });
});
