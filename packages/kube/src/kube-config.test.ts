import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createConnectionSource } from "./kube-config.ts";

let folder = "";

/** As kubectl writes it; `parts`: a context may be in one file and its cluster in another. */
async function kubeconfig(file: string, host: string, parts = ["clusters", "contexts", "users"]): Promise<string> {
  const all: Record<string, unknown> = {
    clusters: [{ name: host, cluster: { server: `https://${host}:6443` } }],
    contexts: [{ name: host, context: { cluster: host, user: host, namespace: `of-${host}` } }],
    users: [{ name: host, user: { token: "t" } }],
  };
  const config = { apiVersion: "v1", kind: "Config", "current-context": parts.includes("contexts") ? host : "" };
  const path = join(folder, file);
  await writeFile(path, JSON.stringify({ ...config, ...Object.fromEntries(parts.map((key) => [key, all[key]])) }));
  return path;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kube-config-"));
  await mkdir(join(folder, ".kube"));
  await kubeconfig(".kube/config", "home");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function hostFor(env: Record<string, string>): Promise<string> {
  return (await createConnectionSource(env).current()).server.hostname;
}

describe("the API server", () => {
  it("is that of ~/.kube/config where nothing else is said, as for kubectl", async () => {
    expect(await hostFor({ HOME: folder })).toBe("home");
    expect(createConnectionSource({ HOME: folder }).namespace).toBe("of-home");
  });

  it("is that of KUBECONFIG, which may be a list whose files complete each other", async () => {
    const one = await kubeconfig("one", "one");
    expect(await hostFor({ HOME: folder, KUBECONFIG: one })).toBe("one");
    expect(await hostFor({ KUBECONFIG: [one, await kubeconfig("three", "three")].join(delimiter) })).toBe("one");
    const context = await kubeconfig("context", "two", ["contexts"]);
    const rest = await kubeconfig("rest", "two", ["clusters", "users"]);
    expect(await hostFor({ KUBECONFIG: [context, join(folder, "absent"), rest].join(delimiter) })).toBe("two");
  });

  it("has to be said somewhere", () => {
    expect(() => createConnectionSource({ HOME: join(folder, "nowhere") })).toThrow("set KUBECONFIG");
    expect(() => createConnectionSource({ KUBECONFIG: join(folder, "absent") })).toThrow(/absent/);
  });
});
