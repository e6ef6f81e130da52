import { loadConfig } from "@cache-registry/runtime/config";
import { describe, expect, it } from "vitest";
import { ControllersConfig } from "./config.ts";

const url = { CREG_REGISTRY__URL: "http://registry:8081" };

function load(env: Record<string, string>) {
  return loadConfig({ schema: ControllersConfig, env: { ...url, ...env } });
}

describe("ControllersConfig", () => {
  it("has the defaults of the design", () => {
    expect(load({})).toMatchObject({
      mode: "rewrite",
      endpoint: "localhost:7439",
      registry: { url: "http://registry:8081" },
      expiryDelay: 30 * 86_400_000,
      platforms: "auto",
      revisionsKept: 2,
      leaderElection: { enabled: true },
      management: { port: 8083 },
    });
  });

  it("takes a plain number of days, as the ancestor chart did, and durations", () => {
    expect(load({ CREG_EXPIRYDELAY: "7" }).expiryDelay).toBe(7 * 86_400_000);
    expect(load({ CREG_EXPIRYDELAY: "10s" }).expiryDelay).toBe(10_000);
    expect(() => load({ CREG_EXPIRYDELAY: "soon" })).toThrow(/expiryDelay/);
  });

  it("knows when the cache is unhealthy and what a loop is, and refuses what makes no sense", () => {
    expect(load({})).toMatchObject({
      health: { registryUnready: 60_000, proxiesUnready: 10, recovered: 30_000 },
      loops: { recreations: 5, within: 600_000, leaveAloneFor: 86_400_000 },
      nodeTaint: { enabled: false, key: "cache-registry.enix.io/proxy-not-ready" },
    });
    expect(load({}).clusterState.configMap).toBeUndefined();
    expect(() => load({ CREG_HEALTH__PROXIESUNREADY: "101" })).toThrow(/health/);
    expect(() => load({ CREG_LOOPS__RECREATIONS: "1" })).toThrow(/loops.recreations/);
    expect(() => load({ CREG_NODETAINT__KEY: "a b" })).toThrow(/nodeTaint.key.*taint key/s);
    expect(() => load({ CREG_NODETAINT__ENABLED: "true" })).toThrow(/proxy.daemonSet/);
  });

  it("takes platforms as auto or a list", () => {
    expect(load({ CREG_PLATFORMS: "[linux/amd64, linux/arm/v7]" }).platforms).toEqual(["linux/amd64", "linux/arm/v7"]);
    expect(() => load({ CREG_PLATFORMS: "[amd64]" })).toThrow(/platforms/);
  });

  it("refuses what it does not know, and two tokens at once", () => {
    expect(() => load({ CREG_NOPE: "1" })).toThrow(/nope/i);
    expect(() => loadConfig({ schema: ControllersConfig, env: {} })).toThrow(/registry/);
    expect(() => load({ CREG_REGISTRY__TOKENFILE: "/a", CREG_REGISTRY__TOKENSECRET__NAME: "b" })).toThrow(/not both/);
  });

  it("refuses lifetimes and names of certificates that cannot work, naming the key", () => {
    const serving = (...secrets: string[]) =>
      JSON.stringify(secrets.map((secret) => ({ secret, dnsNames: ["a.svc"] })));
    expect(load({}).certificates).toMatchObject({ mode: "auto", serving: [], duration: 90 * 86_400_000 });
    expect(load({ CREG_CERTIFICATES__SERVING: serving("a", "b") }).certificates.serving).toHaveLength(2);
    expect(() => load({ CREG_CERTIFICATES__RENEWBEFORE: "90d" })).toThrow(/certificates.renewBefore/);
    expect(() => load({ CREG_CERTIFICATES__CADURATION: "100d" })).toThrow(/certificates.caDuration/);
    expect(() => load({ CREG_CERTIFICATES__SERVING: serving("a", "a") })).toThrow(/certificates.serving/);
    expect(() => load({ CREG_CERTIFICATES__SERVING: serving("cache-registry-ca") })).toThrow(/certificates.serving/);
    expect(() => load({ CREG_CERTIFICATES__SERVING: serving("Not A Name") })).toThrow(/serving/);
    expect(() => load({ CREG_CERTIFICATES__MODE: "own" })).toThrow(/certificates.mode/);
  });
});
