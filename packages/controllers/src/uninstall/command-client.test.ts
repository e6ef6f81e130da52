import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "@cache-registry/runtime/config";
import { afterAll, beforeAll, expect, it } from "vitest";
import { runMigrate } from "../migrate/migrate-command.ts";
import { runRestore } from "./restore-command.ts";

/** An API server that knows who asks, and lets them do nothing. */
const server = createServer((request, response) => {
  const message = `"${request.url?.split("?")[0]}" is forbidden: User "eve" cannot list resource`;
  response.writeHead(403, { "content-type": "application/json" });
  response.end(JSON.stringify({ kind: "Status", code: 403, reason: "Forbidden", message }));
});
let folder = "";
let KUBECONFIG = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "refused-command-"));
  KUBECONFIG = join(folder, "config");
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const clusters = [{ name: "c", cluster: { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true } }];
  const contexts = [{ name: "c", context: { cluster: "c", user: "u" } }];
  const users = [{ name: "u", user: {} }];
  await writeFile(KUBECONFIG, JSON.stringify({ clusters, contexts, users, "current-context": "c" }));
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

it.each([
  ["restore", runRestore],
  ["migrate", runMigrate],
])("%s says in a sentence that rights are missing, or a kubeconfig", async (_name, run) => {
  const refused = await run({ env: { KUBECONFIG } }).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(ConfigError);
  expect(String(refused)).toMatch(/User "eve" cannot list resource.*needs the rights of whoever installs the chart/s);
  const lost = await run({ env: {} }).catch((error: unknown) => error);
  expect(lost).toBeInstanceOf(ConfigError);
  expect(String(lost)).toContain("set KUBECONFIG");
});
