import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createClient } from "./client.ts";
import { createConnectionSource } from "./kube-config.ts";
import { NODES } from "./resource.ts";

let folder = "";

const ALL = ["clusters", "contexts", "users"];

/** As kubectl writes it; `parts`: a context may be in one file and its cluster in another. */
async function kubeconfig(
  file: string,
  host: string,
  parts: readonly string[] = ALL,
  cluster: object = { server: `https://${host}:6443` },
): Promise<string> {
  const all: Record<string, unknown> = {
    clusters: [{ name: host, cluster }],
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

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

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

  it("is reached through the proxy that the kubeconfig names, as by kubectl", async () => {
    const api = createServer(
      (_request, response) => void response.end(JSON.stringify({ metadata: { name: "found" } })),
    );
    const asked: string[] = [];
    const proxy = createServer().on("connect", ({ url = "" }, socket) => {
      asked.push(url);
      const onward = connect(portOf(api), "127.0.0.1", () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
      socket.pipe(onward).pipe(socket);
    });
    for (const server of [api, proxy]) {
      await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    }
    const cluster = { server: "http://api.invalid:6443", "proxy-url": `http://127.0.0.1:${portOf(proxy)}` };
    const path = await kubeconfig("proxied", "proxied", ALL, { ...cluster, "insecure-skip-tls-verify": true });
    const client = createClient({ env: { KUBECONFIG: path }, userAgent: "test/1" });
    try {
      const { metadata } = await client.get(NODES, { name: "one" }, { timeout: 5_000 });
      expect({ asked, name: metadata.name }).toEqual({ asked: ["api.invalid:6443"], name: "found" });
    } finally {
      client.close();
      for (const server of [api, proxy]) {
        server.closeAllConnections();
        server.close();
      }
    }
  });

  it("has to be said somewhere", () => {
    expect(() => createConnectionSource({ HOME: join(folder, "nowhere") })).toThrow("set KUBECONFIG");
    expect(() => createConnectionSource({ KUBECONFIG: join(folder, "absent") })).toThrow(/absent/);
  });
});
