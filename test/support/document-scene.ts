/** The places where a reader of our documents types: a checkout, a cluster, a registry, a registry without Internet. */
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { makeTestImage, pushTestImage } from "../../hack/cluster/test-image.ts";
import { ensureDebianPackages } from "../../hack/tools/debian.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { type ApiServer, startApiServer } from "./api-server.ts";
import { firstYamlOf } from "./document-commands.ts";
import { ROOT } from "./documents.ts";
import { type RegistryProcess, startRegistryProcess } from "./registry-process.ts";
import { startUpstreamRegistry, type UpstreamRegistry } from "./upstream-registry.ts";

const run = promisify(execFile);
const log = { log: () => {} };
const CLI = join(ROOT, "packages/cli/src/main.ts");
const TOKEN = "token-of-the-management-api";

/** `checkout` has the cluster's kubeconfig and the registry's address; the two others are the folders of a registry.yaml. */
export type Place = "checkout" | "outside" | "inside";

export interface DocumentScene {
  readonly api: ApiServer;
  readonly outside: RegistryProcess;
  readonly inside: RegistryProcess;
  /** Digest of the image that docker.io/library/nginx:1.27, quay.io/team/app:v1 and dist-image/ hold. */
  readonly digest: string;
  /** What the command wrote. @throws Error with its standard error when it fails */
  type(command: string, place: Place): Promise<string>;
  /** A tool, without the reader's shell. */
  tool(name: string, ...args: readonly string[]): Promise<string>;
  apply(...objects: readonly object[]): Promise<void>;
  dispose(): Promise<void>;
}

export async function openDocumentScene(): Promise<DocumentScene> {
  const work = await mkdtemp(join(tmpdir(), "creg-documents-"));
  await ensureDebianPackages(["skopeo"], log);
  const [tools, api, upstream] = await Promise.all([
    ensureTools(["crane", "helm", "kubectl"], log),
    startApiServer(),
    startUpstreamRegistry(),
  ]);
  const image = await makeTestImage({ directory: join(work, "image"), multiArch: true, ...log });
  const world = new URL(upstream.proxy.url).host;
  for (const name of ["library/nginx:1.27", "team/app:v1"]) await pushTestImage(image, `${world}/${name}`, log);
  const tokenFile = join(work, "token");
  await writeFile(tokenFile, TOKEN);
  const [outside, inside] = await Promise.all([
    startRegistryProcess(configuration(upstream, tokenFile)),
    startRegistryProcess({ ...configuration(upstream, tokenFile), airGapped: true }),
  ]);

  const bin = join(work, "bin");
  await mkdir(bin);
  const program = async (name: string, command: string) => {
    await writeFile(join(bin, name), `#!/bin/sh\n${command}\n`);
    await chmod(join(bin, name), 0o755);
  };
  for (const [name, path] of Object.entries(tools)) await program(name, `exec "${path}" "$@"`);
  await program(
    "skopeo",
    'copy=$1; shift; exec /usr/bin/skopeo --insecure-policy "$copy" --dest-tls-verify=false "$@"',
  );
  // The package's program as npx finds it in a checkout.
  await program("npx", `shift; exec "${process.execPath}" "${CLI}" "$@"`);

  const checkout = join(work, "checkout");
  await mkdir(join(checkout, "dist-image"), { recursive: true });
  await symlink(image.directory, join(checkout, "dist-image", "layout"));
  await run("tar", ["-cf", join(checkout, "dist-image", "image.tar"), "-C", image.directory, "."]);
  await symlink(join(ROOT, "charts"), join(checkout, "charts"));
  await writeFile(join(checkout, "values.yaml"), firstYamlOf("README.md"));
  const host = new URL(outside.url).host;
  await writeFile(join(inside.directory, "token"), TOKEN);
  const layout = join(inside.directory, "from-crane");
  await run(tools.crane ?? "crane", ["pull", "--insecure", "--format", "oci", `${world}/library/nginx:1.27`, layout]);

  const env = {
    PATH: `${bin}:${process.env.PATH}`,
    HOME: work,
    KUBECONFIG: api.kubeconfig,
    NODE_NO_WARNINGS: "1",
    TOKEN,
  };
  const folders = { checkout, outside: outside.directory, inside: inside.directory };
  /** What the documents leave to the reader, and the addresses of this scene. Longer ones first. */
  const replaced: readonly (readonly [string, string])[] = [
    ["<your registry>", host],
    ["<repository>", "ours/cache-registry"],
    ["<tag>", "dev"],
    ["<name>", "nginx"],
    ["127.0.0.1:5000", host],
    ["http://cache-registry-registry:8081", outside.management],
    ["http://registry:8081", inside.management],
    // There are no nodes on which pods could become ready.
    [" --wait ", " "],
  ];
  return {
    api,
    outside,
    inside,
    digest: image.digest,
    async type(command, place) {
      const line = replaced.reduce((text, [from, to]) => text.replaceAll(from, to), command);
      if (place === "inside") {
        await run("cp", ["-f", join(outside.directory, "images.tar"), inside.directory]).catch(() => undefined);
      }
      const { stdout, stderr } = await run("sh", ["-ec", line], { env, cwd: folders[place], maxBuffer: 16 << 20 });
      return stdout + stderr;
    },
    tool: async (name, ...args) => (await run(join(bin, name), [...args], { env, cwd: checkout })).stdout.trim(),
    async apply(...objects) {
      const file = join(work, "objects.json");
      await writeFile(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }));
      await run(tools.kubectl ?? "kubectl", ["apply", "-f", file], { env });
    },
    async dispose() {
      await Promise.all([outside.dispose(), inside.dispose(), upstream.dispose(), api.stop()]);
      await rm(work, { recursive: true, force: true });
    },
  };
}

function configuration(upstream: UpstreamRegistry, tokenFile: string): Readonly<Record<string, unknown>> {
  const upstreams = ["docker.io", "quay.io"].map((registry) => ({ registry, endpoints: [upstream.proxy.url] }));
  return { upstreams, upstreamPolicy: "listed", management: { tokenFile } };
}
