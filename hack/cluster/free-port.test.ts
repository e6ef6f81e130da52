import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { freePort } from "./free-port.ts";

describe("freePort", () => {
  const servers: Server[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  });

  async function listen(port: number, host: string): Promise<void> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(port, host, resolve);
    });
    servers.push(server);
  }

  it("gives none twice, also to those who ask at once, and none that the kernel or Kubernetes hands out", async () => {
    const ports = await Promise.all(Array.from({ length: 200 }, () => freePort()));
    expect(new Set(ports).size).toBe(ports.length);
    for (const port of ports) {
      expect(port).toBeGreaterThanOrEqual(11_000);
      expect(port).toBeLessThan(30_000);
    }
  });

  it("passes over what somebody listens on, at whatever address", async () => {
    const ports = [await freePort(), await freePort(), await freePort(), await freePort()];
    const [first = 0, second = 0, third = 0, fourth] = ports;
    await listen(first, "127.0.0.1");
    await listen(second, "127.0.0.2");
    await listen(third, "0.0.0.0");
    const candidates = ports.values();
    expect(await freePort(candidates)).toBe(fourth);
    await expect(freePort(candidates)).rejects.toThrow("no port is left");
  });

  it("gives ports that can be listened on", async () => {
    await expect(listen(await freePort(), "127.0.0.1")).resolves.toBeUndefined();
    await expect(listen(await freePort(), "0.0.0.0")).resolves.toBeUndefined();
  });
});
