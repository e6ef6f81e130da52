import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import bcrypt from "bcryptjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeTestImage, type TestImage } from "../../hack/cluster/test-image.ts";
import { type ClientTools, clientTools } from "../support/client-tools.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { startUpstreamRegistry, UPSTREAM_NAME, type UpstreamRegistry } from "../support/upstream-registry.ts";

const log = { log: () => {} };
let work: string;
let tool: ClientTools;
let upstream: UpstreamRegistry;
let registry: RegistryProcess;
let host: string;
let direct: string;
let index: TestImage;

beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "creg-tools-"));
  tool = await clientTools(["skopeo", "buildah", "helm", "oras", "crane"], work);
  upstream = await startUpstreamRegistry();
  direct = new URL(upstream.proxy.url).host;
  registry = await startRegistryProcess(upstream.configuration());
  host = new URL(registry.url).host;
  index = await makeTestImage({ directory: join(work, "index"), layerBytes: 30_000_000, multiArch: true, ...log });
  await mkdir(join(work, "home", ".docker"), { recursive: true });
  // Some clients refuse to start without it.
  await writeFile(join(work, "home", ".docker", "config.json"), "{}");
});
afterAll(async () => {
  await registry?.dispose();
  await upstream?.dispose();
  await rm(work, { recursive: true, force: true });
});

describe("skopeo", () => {
  const skopeo = (...args: string[]) => tool("skopeo", ["--insecure-policy", ...args]);
  const plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
  const copy = (...args: string[]) => skopeo("copy", "--quiet", ...plain, ...args);
  const inspect = async (reference: string, ...args: string[]) =>
    JSON.parse(await skopeo("inspect", "--tls-verify=false", ...args, `docker://${reference}`));

  it("copies a whole index in and out, with its digest", async () => {
    await copy("--all", `oci:${index.directory}`, `docker://${host}/skopeo/app:v1`);
    expect(await tool("crane", ["digest", `${host}/skopeo/app:v1`])).toBe(index.digest);
    await copy("--all", `docker://${host}/skopeo/app:v1`, `oci:${join(work, "skopeo-out")}:v1`);
    const layout = JSON.parse(await readFile(join(work, "skopeo-out", "index.json"), "utf8"));
    expect(layout.manifests[0].digest).toBe(index.digest);
  });

  it("writes Docker schema 2, lists tags, deletes", async () => {
    await copy("--format", "v2s2", `oci:${index.directory}`, `docker://${host}/skopeo/app:docker`);
    const docker = await inspect(`${host}/skopeo/app:docker`, "--raw");
    expect(docker.mediaType).toBe("application/vnd.docker.distribution.manifest.v2+json");
    await copy(`docker://${host}/skopeo/app:docker`, `docker://${host}/skopeo/app:again`);
    const { RepoTags } = await inspect(`${host}/skopeo/app:docker`);
    expect(RepoTags).toEqual(["again", "docker", "v1"]);
    await skopeo("delete", "--tls-verify=false", `docker://${host}/skopeo/app:v1`);
    expect((await inspect(`${host}/skopeo/app:docker`)).RepoTags).toEqual(["again", "docker"]);
  });

  it("copies from an upstream's name, each blob fetched once", async () => {
    await copy("--all", `oci:${index.directory}`, `docker://${direct}/team/app:v1`);
    upstream.proxy.reset();
    const through = `docker://${host}/${UPSTREAM_NAME}/team/app:v1`;
    await copy("--all", through, `docker://${host}/skopeo/through:v1`);
    expect(await tool("crane", ["digest", `${host}/skopeo/through:v1`])).toBe(index.digest);
    expect(upstream.fetchedTwice()).toEqual([]);
    await expect(copy(`oci:${index.directory}`, through)).rejects.toThrow("belongs to the upstream");
  });

  it("logs in to push", async () => {
    const htpasswd = join(work, "htpasswd");
    await writeFile(htpasswd, `alice:${await bcrypt.hash("wonderland", 5)}\n`);
    const guarded = await startRegistryProcess({ auth: { htpasswdFile: htpasswd, anonymousPush: false } });
    try {
      const target = `docker://${new URL(guarded.url).host}/team/app:v1`;
      await expect(copy(`oci:${index.directory}`, target)).rejects.toThrow("authentication required");
      await expect(copy("--dest-creds", "alice:wrong", `oci:${index.directory}`, target)).rejects.toThrow(
        /unauthorized|authentication required/,
      );
      await copy("--dest-creds", "alice:wonderland", `oci:${index.directory}`, target);
    } finally {
      await guarded.dispose();
    }
  });
});

describe("buildah", () => {
  const buildah = (command: string, ...args: string[]) =>
    tool("buildah", [
      ...["--storage-driver", "vfs", "--root", join(work, "buildah"), "--runroot", join(work, "buildah-run")],
      ...[command, ...args],
    ]);

  it("builds, pushes an image and a list of two platforms, and pulls", async () => {
    const context = join(work, "context");
    await mkdir(context);
    await writeFile(join(context, "hello"), "hello");
    await writeFile(join(context, "Containerfile"), "FROM scratch\nCOPY hello /hello\n");
    for (const platform of ["linux/amd64", "linux/arm64"]) {
      await buildah("bud", "--isolation", "chroot", "--platform", platform, "--manifest", "multi", context);
    }
    const target = `docker://${host}/buildah/multi:v1`;
    await buildah("manifest", "push", "--all", "--tls-verify=false", "multi", target);
    const pushed = JSON.parse(await tool("crane", ["manifest", `${host}/buildah/multi:v1`]));
    expect(
      pushed.manifests.map((entry: { platform: { architecture: string } }) => entry.platform.architecture),
    ).toEqual(["amd64", "arm64"]);
    const id = await buildah("pull", "--quiet", "--tls-verify=false", target);
    await buildah("push", "--tls-verify=false", "--format", "v2s2", id, `docker://${host}/buildah/single:v1`);
    await tool("crane", ["validate", "--remote", `${host}/buildah/single:v1`]);
  });

  it("pulls through", async () => {
    const other = await makeTestImage({ directory: join(work, "other"), seed: "other", ...log });
    await tool("crane", ["push", other.directory, `${direct}/team/buildah:v1`]);
    upstream.proxy.reset();
    await buildah("pull", "--quiet", "--tls-verify=false", `docker://${host}/${UPSTREAM_NAME}/team/buildah:v1`);
    expect(upstream.requests(/^GET .*\/blobs\//)).toBeGreaterThan(0);
    expect(upstream.fetchedTwice()).toEqual([]);
  });
});

describe("helm", () => {
  const helm = (...args: string[]) => tool("helm", args);

  it("pushes a chart, shows and pulls it, also through the cache", async () => {
    const chart = new URL("../../charts/cache-registry", import.meta.url).pathname;
    const [, archive = ""] = /saved it to: (.*)$/m.exec(await helm("package", chart, "--destination", work)) ?? [];
    const [, version = ""] = /cache-registry-(.*)\.tgz$/.exec(archive) ?? [];
    for (const target of [host, direct]) await helm("push", "--plain-http", archive, `oci://${target}/charts`);
    for (const prefix of [`${host}/charts`, `${host}/${UPSTREAM_NAME}/charts`]) {
      const url = `oci://${prefix}/cache-registry`;
      expect(await helm("show", "chart", "--plain-http", url, "--version", version)).toContain("name: cache-registry");
      const folder = join(work, prefix.replaceAll("/", "_"));
      await mkdir(folder);
      await helm("pull", "--plain-http", url, "--version", version, "--destination", folder);
      expect(await readFile(join(folder, `cache-registry-${version}.tgz`))).toEqual(await readFile(archive));
    }
  });
});

describe("oras", () => {
  const oras = (...args: string[]) => tool("oras", args);
  const type = "application/vnd.example.report";

  it("pushes an artifact, attaches to it, discovers, copies with referrers", async () => {
    await writeFile(join(work, "report.txt"), "all is well");
    await writeFile(join(work, "signature.txt"), "signed");
    const reference = `${host}/oras/report:v1`;
    await oras("push", "--plain-http", "--artifact-type", type, reference, "report.txt:text/plain");
    await oras("attach", "--plain-http", "--artifact-type", `${type}.sig`, reference, "signature.txt:text/plain");
    expect(await discovered(reference)).toEqual([`${type}.sig`]);
    await oras("copy", "--recursive", "--from-plain-http", "--to-plain-http", reference, `${host}/oras/copy:v1`);
    expect(await discovered(`${host}/oras/copy:v1`)).toEqual([`${type}.sig`]);
    await oras("pull", "--plain-http", "--output", join(work, "oras-out"), `${host}/oras/copy:v1`);
    expect(await readFile(join(work, "oras-out", "report.txt"), "utf8")).toBe("all is well");
  });

  it("finds through the cache what is attached upstream by the fallback tag", async () => {
    const reference = `${direct}/team/report:v1`;
    await oras("push", "--plain-http", "--artifact-type", type, reference, "report.txt:text/plain");
    await oras("attach", "--plain-http", "--artifact-type", `${type}.sig`, reference, "signature.txt:text/plain");
    expect(await discovered(`${host}/${UPSTREAM_NAME}/team/report:v1`)).toEqual([`${type}.sig`]);
  });

  async function discovered(reference: string): Promise<string[]> {
    const { referrers } = JSON.parse(await oras("discover", "--plain-http", "--format", "json", reference));
    return referrers.map(({ artifactType }: { artifactType: string }) => artifactType);
  }
});
