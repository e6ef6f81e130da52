import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { freePort } from "../../hack/cluster/free-port.ts";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import { type ApiServer, startApiServer } from "../support/api-server.ts";
import { CA_SECRET, heldCertificate, NAMESPACE, TLS_SECRET } from "../support/certificates.ts";
import { applyDefinition, connect } from "../support/controllers.ts";
import { grantAccess } from "../support/controllers-access.ts";
import { eventually } from "../support/eventually.ts";

const CLI = fileURLToPath(new URL("../../packages/cli/src/main.ts", import.meta.url));
const NAMES = { lease: "cache-registry-controllers", secret: "management-token", deployment: "controllers" };

let server: ApiServer;
let client: KubeClient;
let dir: string;
let registry: Server | undefined;
let child: ChildProcess | undefined;

beforeAll(async () => {
  server = await startApiServer();
  client = connect(server);
  await applyDefinition(client);
  const certificates = { secrets: [CA_SECRET, TLS_SECRET], configurations: [] };
  const others = { configMap: "cluster-state", daemonSet: "proxy" };
  await grantAccess(client, { namespace: NAMESPACE, ...NAMES, ...others, certificates });
  dir = await mkdtemp(join(tmpdir(), "creg-certificates-"));
});

afterAll(async () => {
  child?.kill("SIGKILL");
  registry?.closeAllConnections();
  registry?.close();
  client?.close();
  await server?.stop();
  await rm(dir, { recursive: true, force: true });
});

it("the process makes the registry's certificate, and trusts it as soon as the registry serves it", async () => {
  const port = await freePort();
  const config = join(dir, "controllers.yaml");
  await writeFile(
    config,
    JSON.stringify({
      registry: {
        url: `https://localhost:${port}`,
        tokenSecret: { name: NAMES.secret },
        caSecret: { name: TLS_SECRET },
      },
      certificates: {
        mode: "selfManaged",
        caSecret: CA_SECRET,
        serving: [{ secret: TLS_SECRET, dnsNames: ["localhost"] }],
      },
      management: { port: 0 },
    }),
  );
  const env = {
    ...process.env,
    KUBECONFIG: server.limitedKubeconfig,
    POD_NAME: "one",
    POD_NAMESPACE: NAMESPACE,
    DEPLOYMENT_NAME: NAMES.deployment,
  };
  child = spawn(process.execPath, [CLI, "controllers", "--config", config], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout?.on("data", (chunk) => {
    output += String(chunk);
  });

  const { certificate, key } = await eventually(() => heldCertificate(client));
  const asked: string[] = [];
  registry = createServer({ cert: certificate, key }, (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.end(JSON.stringify({ startedAt: "1", images: [] }));
  });
  await new Promise<void>((resolve) => registry?.listen(port, "localhost", resolve));
  await eventually(() => expect(asked).toContain("GET /api/v1/stats"));

  const management = /"url":"(http:\/\/127\.0\.0\.1:\d+)"/.exec(output)?.[1];
  const metrics = await (await fetch(`${management}/metrics`)).text();
  expect(metrics).toContain(`cache_registry_managed_certificate_not_after_seconds{secret="${TLS_SECRET}"}`);
  expect(output).not.toContain("PRIVATE KEY");
});
