import { describe, expect, it } from "vitest";
import { createHealth, createManagementServer } from "./health.ts";
import { silentLogger } from "./logger.ts";
import { createMetrics } from "./metrics.ts";

function setup() {
  const health = createHealth();
  const metrics = createMetrics({ defaultMetrics: false });
  const server = createManagementServer({ health, metrics, logger: silentLogger() });
  const get = async (url: string) => {
    const { statusCode, body } = await server.inject(url);
    return [statusCode, body];
  };
  return { health, metrics, server, get };
}

describe("management server", () => {
  it("is alive at once, and ready only when told", async () => {
    const { health, get } = setup();
    expect(await get("/livez")).toEqual([200, "ok\n"]);
    expect(await get("/readyz")).toEqual([503, "[-] process: starting\nnot ready\n"]);
    health.setReady();
    expect(await get("/readyz")).toEqual([200, "ok\n"]);
    health.setUnready("shutting down");
    expect(await get("/readyz")).toEqual([503, "[-] process: shutting down\nnot ready\n"]);
    expect(await get("/livez")).toEqual([200, "ok\n"]);
  });

  it("lists every check with verbose", async () => {
    const { health, get } = setup();
    health.setReady();
    let storage: string | undefined = "disk is gone";
    const remove = health.addCheck({ name: "storage", check: async () => storage });
    health.addCheck({ name: "space", check: () => "disk is full", warnOnly: true });
    expect(await get("/readyz?verbose")).toEqual([
      503,
      "[+] process: ok\n[-] storage: disk is gone\n[!] space: disk is full\nnot ready\n",
    ]);
    storage = undefined;
    expect(await get("/readyz?verbose=1")).toEqual([
      200,
      "[+] process: ok\n[+] storage: ok\n[!] space: disk is full\nok\n",
    ]);
    storage = "again";
    remove();
    expect((await get("/readyz"))[0]).toBe(200);
  });

  it("counts a check that throws or hangs as not ready", async () => {
    const { health, get } = setup();
    health.setReady();
    health.addCheck({
      name: "throws",
      check: () => {
        throw new Error("broken");
      },
    });
    health.addCheck({ name: "hangs", check: () => new Promise(() => {}) });
    expect(await get("/readyz")).toEqual([503, "[-] throws: broken\n[-] hangs: no answer within 2000 ms\nnot ready\n"]);
  });

  it("serves the metrics, and further routes", async () => {
    const { metrics, server, get } = setup();
    metrics.counter({ name: "pulls_total", help: "Pulls" }).inc();
    server.get("/api/v1/stats", async () => ({ images: 1 }));
    const response = await server.inject("/metrics");
    expect(response.headers["content-type"]).toBe(metrics.contentType);
    expect(response.body).toContain("cache_registry_pulls_total 1");
    expect(await get("/api/v1/stats")).toEqual([200, '{"images":1}']);
  });
});
