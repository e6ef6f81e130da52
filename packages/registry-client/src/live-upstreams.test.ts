import { randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { createHealth, type Health } from "@cache-registry/runtime/health";
import { silentLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLiveUpstreams, type LiveUpstreams, type UpstreamSettings } from "./live-upstreams.ts";
import {
  answerJson,
  createScriptedRegistry,
  manifestBytes,
  type ScriptedRegistry,
} from "./testing/scripted-registry.ts";
import { upstreamListSchema } from "./upstream.ts";

const at = { registry: "a.example.com", repository: "app" };

let former: ScriptedRegistry;
let later: ScriptedRegistry;
let live: LiveUpstreams;
let health: Health;

function settings(endpoint: string, more: object = {}): UpstreamSettings {
  const upstreams = upstreamListSchema.parse([{ registry: at.registry, endpoints: [endpoint], ...more }]);
  return { upstreams, upstreamPolicy: "listed" };
}

const added = (registry: string) => upstreamListSchema.parse([{ registry }]);

beforeEach(async () => {
  former = await createScriptedRegistry();
  later = await createScriptedRegistry();
  const metrics = createMetrics({ defaultMetrics: false });
  health = createHealth();
  live = createLiveUpstreams({ settings: settings(former.url), metrics, logger: silentLogger(), health });
});
afterEach(async () => {
  await live.client.close();
  await Promise.all([former.stop(), later.stop()]);
});

describe("createLiveUpstreams", () => {
  it("asks by the new settings at once, names and tags included", async () => {
    live.replace(settings(later.url, { paths: ["alias"], tags: [{ match: "^v", freeze: true }] }));
    const digest = later.addManifest("app", manifestBytes("later"), "v1");
    expect(await live.client.getManifest({ ...at, reference: "v1" })).toMatchObject({ digest });
    expect(live.targets.resolve({ path: "alias/app" })).toMatchObject(at);
    expect(live.tagRuleOf(at.registry, "v1")).toMatchObject({ freeze: true });
    live.replace({ ...settings(later.url), airGapped: true });
    await expect(live.client.getManifest({ ...at, reference: "v1" })).rejects.toMatchObject({
      kind: "denied-by-policy",
    });
    expect(former.requests).toHaveLength(0);
  });

  it("lets what is under way end where it began, and closes that then", async () => {
    const bytes = randomBytes(100_000);
    let finish: () => void = () => undefined;
    former.intercept = (_request, response) => {
      response.writeHead(200, { "content-length": bytes.length });
      response.write(bytes.subarray(0, 50_000));
      finish = () => response.end(bytes.subarray(50_000));
      return true;
    };
    const digest = `sha256:${"0".repeat(64)}`;
    const blob = await live.client.getBlob({ ...at, digest });
    live.replace(settings(later.url));
    await expect(live.client.headBlob({ ...at, digest })).rejects.toMatchObject({ kind: "not-found" });
    finish();
    expect((await buffer(blob.stream)).equals(bytes)).toBe(true);
    expect([former.requests.length, later.requests.length]).toEqual([1, 1]);
  });

  it("forgets no limit", async () => {
    former.intercept = (_request, response) => answerJson(response, 429, {}, { "retry-after": "60" });
    await live.client.getManifest({ ...at, reference: "v1" }).catch(() => undefined);
    live.replace(settings(former.url, { concurrency: 3 }));
    await expect(live.client.getManifest({ ...at, reference: "v1" })).rejects.toMatchObject({ kind: "rate-limited" });
    expect(former.requests).toHaveLength(1);
  });

  it("but those of somebody else: new credentials are tried at once", async () => {
    const credentials = (password: string) => ({ credentials: { username: "robot", password } });
    live.replace(settings(former.url, credentials("one")));
    former.intercept = (_request, response) => answerJson(response, 429, {}, { "retry-after": "3600" });
    await live.client.getManifest({ ...at, reference: "v1" }).catch(() => undefined);
    expect(live.traffic.hold(at.registry)).toBeDefined();
    former.intercept = undefined;
    const digest = former.addManifest("app", manifestBytes("a"), "v1");
    live.replace(settings(former.url, credentials("two")));
    expect(live.traffic.hold(at.registry)).toBeUndefined();
    expect(await live.client.getManifest({ ...at, reference: "v1" })).toMatchObject({ digest });
  });

  it("warns of what is wrong with each upstream that is listed, and asks nothing for that", async () => {
    const checks = async () => (await health.report()).checks.filter(({ name }) => name.startsWith("upstream "));
    const name = `upstream ${at.registry}`;
    expect(await checks()).toEqual([{ name, ok: true, warnOnly: true }]);
    await former.stop();
    await live.client.getManifest({ ...at, reference: "v1" }).catch(() => undefined);
    const since = String.raw`since \d{4}-\d\d-\d\dT[\d:.]+Z`;
    expect(await checks()).toMatchObject([
      { name, ok: false, why: expect.stringMatching(`^not answering ${since}: connection refused$`) },
    ]);
    await former.start();
    former.addManifest("app", manifestBytes("a"), "v1");
    await live.client.getManifest({ ...at, reference: "v1" });
    former.intercept = (_request, response) => answerJson(response, 429, {}, { "retry-after": "3600" });
    await live.client.getManifest({ ...at, reference: "v2" }).catch(() => undefined);
    expect(await checks()).toMatchObject([
      { name, ok: false, why: expect.stringMatching(/^pausing until .+Z \(429\)$/) },
    ]);
    const asked = former.requests.length;
    live.replace({ ...settings(later.url), upstreams: [...settings(later.url).upstreams, ...added("b.example.com")] });
    expect((await checks()).map((check) => [check.name, check.ok])).toEqual([
      [name, true],
      ["upstream b.example.com", true],
    ]);
    live.replace({ upstreams: [], upstreamPolicy: "listed" });
    expect(await checks()).toEqual([]);
    expect([former.requests.length, later.requests.length]).toEqual([asked, 0]);
  });
});
