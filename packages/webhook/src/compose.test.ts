import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "@cache-registry/runtime/config";
import { silentLogger } from "@cache-registry/runtime/logger";
import { afterAll, beforeAll, expect, it } from "vitest";
import { composeWebhook } from "./compose.ts";
import { testConfig } from "./testing/rules.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "webhook-compose-"));
  const files = ["-keyout", join(folder, "tls.key"), "-out", join(folder, "tls.crt")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a", ...files], {
    stdio: "ignore",
  });
});

afterAll(() => rmSync(folder, { recursive: true }));

it("starts and stops both servers, with a check of the certificate", async () => {
  const tls = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key") };
  const config = testConfig({ listen: { host: "127.0.0.1", port: 0, tls }, management: { port: 0 } });
  const { services, health } = await composeWebhook(config, silentLogger());
  for (const service of services) await service.start?.(new AbortController().signal);
  const { checks } = await health.report();
  expect(checks.find(({ name }) => name === "certificate")).toMatchObject({ ok: true, warnOnly: true });
  for (const service of services.toReversed()) await service.stop?.();
  expect(services.map(({ name }) => name)).toEqual(["certificates", "management", "webhook"]);
});

it("follows the cluster's state where a file is named, and starts without it", async () => {
  const tls = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key") };
  const clusterStateFile = join(folder, "state.json");
  const config = testConfig({ listen: { host: "127.0.0.1", port: 0, tls }, management: { port: 0 }, clusterStateFile });
  const { services, health } = await composeWebhook(config, silentLogger());
  for (const service of services) await service.start?.(new AbortController().signal);
  const { checks } = await health.report();
  for (const service of services.toReversed()) await service.stop?.();
  expect(checks).toContainEqual(expect.objectContaining({ name: "cluster state", ok: false, warnOnly: true }));
});

it("does not start without its certificate", async () => {
  const tls = { certFile: join(folder, "none.crt"), keyFile: join(folder, "tls.key") };
  await expect(composeWebhook(testConfig({ listen: { tls } }), silentLogger())).rejects.toThrow(ConfigError);
});
