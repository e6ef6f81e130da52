import { expect, it } from "vitest";
import { ProxyConfig } from "./config.ts";

it("needs no configuration", () => {
  expect(ProxyConfig.parse({})).toMatchObject({
    listen: { hosts: ["127.0.0.1", "::1"], port: 7439 },
    registry: { url: "http://cache-registry-registry:5000", connectTimeout: 200 },
    upstreams: [],
    management: { host: "127.0.0.1", port: 8084 },
  });
});

it("knows its keys", () => {
  expect(ProxyConfig.safeParse({ upstreamPolicy: "any" }).success).toBe(false);
  expect(ProxyConfig.safeParse({ listen: { host: "127.0.0.1" } }).success).toBe(false);
});
