import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import bcrypt from "bcryptjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeTestImage, pushTestImage, type TestImage } from "../../hack/cluster/test-image.ts";
import { type ClientTools, clientTools } from "../support/client-tools.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const log = { log: () => {} };
let work: string;
let tool: ClientTools;
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let host: string;
let image: TestImage;
let index: TestImage;

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "creg-clients-"));
  tool = await clientTools(["crane", "regctl"], work);
  upstream = await startUpstreamRegistry();
  registry = await startRegistryProcess(upstream.configuration());
  host = new URL(registry.url).host;
  image = await makeTestImage({ directory: join(work, "image"), layerBytes: 3_000_000, ...log });
  index = await makeTestImage({ directory: join(work, "index"), layerBytes: 500_000, multiArch: true, ...log });
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.dispose();
  await rm(work, { recursive: true, force: true });
});

describe("crane", () => {
  it("pushes and pulls an image and an index", async () => {
    for (const { directory, multiArch } of [image, index]) {
      const reference = `${host}/crane/app:${multiArch ? "multi" : "single"}`;
      const pushed = await tool("crane", ["push", ...(multiArch ? ["--index"] : []), directory, reference]);
      const digest = pushed.split("@")[1];
      expect(await tool("crane", ["digest", reference])).toBe(digest);
      await tool("crane", ["validate", "--remote", reference]);
      const pulled = join(work, `pulled-${multiArch}`);
      await tool("crane", ["pull", "--format", "oci", reference, pulled]);
      expect(await tool("crane", ["digest", `${host}/crane/app@${digest}`])).toBe(digest);
    }
    expect((await tool("crane", ["ls", `${host}/crane/app`])).split("\n").sort()).toEqual(["multi", "single"]);
  });

  it("copies by mounting, tags, and deletes", async () => {
    await tool("crane", ["copy", `${host}/crane/app:single`, `${host}/crane/copy:v1`]);
    await tool("crane", ["tag", `${host}/crane/copy:v1`, "v2"]);
    expect(await tool("crane", ["digest", `${host}/crane/copy:v2`])).toBe(image.digest);
    await tool("crane", ["delete", `${host}/crane/copy:v1`]);
    expect(await tool("crane", ["ls", `${host}/crane/copy`])).toBe("v2");
    expect((await tool("crane", ["catalog", host])).split("\n")).toEqual(["crane/app", "crane/copy"]);
  });

  it("pulls through, while another pushes", async () => {
    const direct = `${new URL(upstream.proxy.url).host}/library/probe:v1`;
    await pushTestImage(index, direct, log);
    upstream.proxy.reset();
    const through = `${host}/${UPSTREAM_NAME}/library/probe:v1`;
    await Promise.all([
      tool("crane", ["validate", "--remote", through]),
      tool("crane", ["validate", "--remote", through]),
      tool("crane", ["push", image.directory, `${host}/crane/meanwhile:v1`]),
    ]);
    const digest = await tool("crane", ["digest", through]);
    expect(upstream.fetchedTwice()).toEqual([]);
    expect(digest).toBe(await tool("crane", ["digest", direct]));
    const refused = tool("crane", ["push", image.directory, `${host}/${UPSTREAM_NAME}/library/mine:v1`]);
    await expect(refused).rejects.toThrow("belongs to the upstream");
  });
});

describe("regctl", () => {
  const insecure = () => tool("regctl", ["registry", "set", "--tls", "disabled", host]);

  it("pushes and pulls an index, lists and deletes", async () => {
    await insecure();
    const layout = `ocidir://${index.directory}@${index.digest}`;
    await tool("regctl", ["image", "copy", layout, `${host}/regctl/app:v1`]);
    expect(await tool("regctl", ["image", "digest", `${host}/regctl/app:v1`])).toBe(index.digest);
    await tool("regctl", ["image", "copy", `${host}/regctl/app:v1`, `ocidir://${join(work, "regctl-pull")}:v1`]);
    expect(await tool("regctl", ["tag", "ls", `${host}/regctl/app`])).toBe("v1");
    await tool("regctl", ["image", "copy", `${host}/regctl/app:v1`, `${host}/regctl/mounted:v1`]);
    await tool("regctl", ["tag", "delete", `${host}/regctl/mounted:v1`]);
    await tool("regctl", ["image", "delete", `${host}/regctl/app@${index.digest}`]);
    await expect(tool("regctl", ["image", "digest", `${host}/regctl/app:v1`])).rejects.toThrow("not found");
  });

  it("pushes in chunks", async () => {
    await tool("regctl", ["registry", "set", "--blob-chunk", "500000", "--blob-max", "500000", host]);
    await tool("regctl", ["image", "copy", `ocidir://${image.directory}@${image.digest}`, `${host}/regctl/chunks:v1`]);
    expect(await tool("crane", ["digest", `${host}/regctl/chunks:v1`])).toBe(image.digest);
    await tool("crane", ["validate", "--remote", `${host}/regctl/chunks:v1`]);
  });
});

it("crane logs in to push, and pulls without", async () => {
  const htpasswd = join(work, "htpasswd");
  await writeFile(htpasswd, `alice:${await bcrypt.hash("wonderland", 5)}\n`);
  const guarded = await startRegistryProcess({ auth: { htpasswdFile: htpasswd, anonymousPush: false } });
  const guardedHost = new URL(guarded.url).host;
  const home = join(work, "alice");
  try {
    const push = ["push", image.directory, `${guardedHost}/team/app:v1`];
    await expect(tool("crane", push)).rejects.toThrow("UNAUTHORIZED");
    await tool("crane", ["auth", "login", guardedHost, "-u", "alice", "-p", "wonderland"], home);
    await tool("crane", push, home);
    expect(await tool("crane", ["digest", `${guardedHost}/team/app:v1`])).toBe(image.digest);
    await tool("crane", ["validate", "--remote", `${guardedHost}/team/app:v1`]);
  } finally {
    await guarded.dispose();
  }
});
