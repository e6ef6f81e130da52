import { randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failure, QUICK, useClients } from "./testing/clients.ts";
import { createScriptedRegistry, type ScriptedRegistry } from "./testing/scripted-registry.ts";

const REPOSITORY = "library/nginx";
const at = { registry: "docker.io", repository: REPOSITORY };

let registry: ScriptedRegistry;
const createClient = useClients(() => ({ registry: "docker.io", endpoints: [registry.url], timeouts: QUICK }));

beforeEach(async () => {
  registry = await createScriptedRegistry();
});

afterEach(async () => {
  await registry.stop();
});

describe("policy", () => {
  const elsewhere = (name: string) => ({ registry: name, repository: "a", reference: "b" });

  it.each(["127.0.0.1", "169.254.169.254", "10.0.0.1", "[::1]", "localhost"])("public refuses %s", async (name) => {
    const { port } = new URL(registry.url);
    const asked = createClient().getManifest(elsewhere(`${name}:${port}`));
    await expect(asked).rejects.toEqual(failure({ kind: "denied-by-policy" }));
    expect(registry.requests).toHaveLength(0);
  });

  it("public refuses a public name that leads to a private address, at connect time", async () => {
    const asked: string[] = [];
    const client = createClient({
      resolve: (hostname, _options, answer) => {
        asked.push(hostname);
        answer(null, [{ address: "127.0.0.1", family: 4 }]);
      },
    });
    await expect(client.getManifest(elsewhere("rebind.example.com"))).rejects.toEqual(
      failure({ kind: "denied-by-policy" }),
    );
    expect(asked).toEqual(["rebind.example.com"]);
  });

  it("listed refuses every other registry, air-gapped refuses all", async () => {
    const listed = createClient({ policy: "listed" });
    await expect(listed.getManifest(elsewhere("quay.io"))).rejects.toEqual(failure({ kind: "denied-by-policy" }));
    const airGapped = createClient({ airGapped: true });
    await expect(airGapped.getManifest({ ...at, reference: "1" })).rejects.toEqual(
      failure({ kind: "denied-by-policy" }),
    );
    expect(registry.requests).toHaveLength(0);
  });
});

describe("metrics", () => {
  it("counts answers and bytes, without the names that requests make up", async () => {
    const metrics = createMetrics({ defaultMetrics: false });
    const digest = registry.addBlob(randomBytes(1000));
    const client = createClient({ metrics });
    await buffer((await client.getBlob({ ...at, digest })).stream);
    await client.getManifest({ ...at, reference: "missing" }).catch(() => undefined);
    await client.getManifest({ registry: "127.0.0.1", repository: "a", reference: "b" }).catch(() => undefined);
    const lines = await metrics.text();
    expect(lines).toContain('upstream_received_bytes_total{upstream="docker.io"} 1000');
    expect(lines).toContain('upstream_requests_total{upstream="docker.io",resource="manifest",result="not-found"} 1');
    expect(lines).toContain(
      'upstream_requests_total{upstream="unlisted",resource="manifest",result="denied-by-policy"} 1',
    );
    expect(lines).not.toContain("127.0.0.1");
  });
});
