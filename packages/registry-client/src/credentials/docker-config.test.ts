import { describe, expect, it } from "vitest";
import { findInDockerConfig, parseDockerConfig } from "./docker-config.ts";

const auth = (text: string) => ({ auth: Buffer.from(text).toString("base64") });

function find(config: object, host: string, repository = "team/app", registry = host) {
  return findInDockerConfig(parseDockerConfig(JSON.stringify(config)), { hosts: [host, registry], repository });
}

/** The user name of the first identity, or the helper and what it is asked. */
function first(...args: Parameters<typeof find>): string | undefined {
  const [finding] = find(...args);
  if (finding?.kind === "helper") return `${finding.name} ${finding.server}`;
  if (finding?.identity.kind === "basic") return finding.identity.username;
  return finding?.identity.token;
}

describe("a docker configuration", () => {
  it("holds an identity in each of its forms", () => {
    const auths = {
      "a.io": auth("robot:p:w"),
      "b.io": { username: "robot", password: "pw" },
      "c.io": { ...auth("00000000:"), identitytoken: "refresh" },
      "d.io": { registrytoken: "bearer", identitytoken: "refresh" },
      "e.io": auth("robot:pw\0\0"),
    };
    const identity = (host: string) => find({ auths }, host)[0];
    expect(identity("a.io")).toEqual({
      kind: "identity",
      identity: { kind: "basic", username: "robot", password: "p:w" },
    });
    expect(identity("b.io")).toMatchObject({ identity: { username: "robot", password: "pw" } });
    expect(identity("c.io")).toEqual({ kind: "identity", identity: { kind: "identity-token", token: "refresh" } });
    expect(identity("d.io")).toEqual({ kind: "identity", identity: { kind: "registry-token", token: "bearer" } });
    expect(identity("e.io")).toMatchObject({ identity: { password: "pw" } });
    expect(identity("f.io")).toBeUndefined();
  });

  it.each([
    ["https://index.docker.io/v1/", "registry-1.docker.io"],
    ["index.docker.io", "docker.io"],
    ["docker.io", "registry-1.docker.io"],
    ["https://harbor.local", "harbor.local"],
    ["HARBOR.local:5000/v2/", "harbor.local:5000"],
    ["http://harbor.local:5000/", "harbor.local:5000"],
    ["*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com"],
    ["*.corp.local:5000", "a.corp.local:5000"],
    ["reg*.corp.local", "registry.corp.local"],
  ])("with the key %s is for %s", (key, host) => {
    expect(first({ auths: { [key]: auth("robot:pw") } }, host)).toBe("robot");
  });

  it.each([
    ["harbor.local", "harbor.local:5000"],
    ["*.local", "a.b.local"],
    ["*", "harbor.local"],
    ["*.corp.local", "a.corp.local:5000"],
    ["docker.io", "docker.io.evil.example"],
    ["harbor.local/team", "harbor.local"],
    ["harbor.local/other", "harbor.local"],
  ])("with the key %s is not for %s/teamwork/app", (key, host) => {
    expect(first({ auths: { [key]: auth("robot:pw") } }, host, "teamwork/app")).toBeUndefined();
  });

  it("gives the longest path, and a host written out before a pattern", () => {
    const auths = {
      "*.corp.local": auth("pattern:"),
      "r.corp.local": auth("host:"),
      "r.corp.local/team": auth("team:"),
      "https://r.corp.local/v2/team/app": auth("app:"),
    };
    expect(first({ auths }, "r.corp.local", "team/app")).toBe("app");
    expect(first({ auths }, "r.corp.local", "team/app/sub")).toBe("app");
    expect(first({ auths }, "r.corp.local", "team/apple")).toBe("team");
    expect(first({ auths }, "r.corp.local", "else")).toBe("host");
    expect(first({ auths }, "q.corp.local", "else")).toBe("pattern");
  });

  it("prefers the entry of the host that is asked to that of the registry's name", () => {
    const auths = { "mirror.local": auth("mirror:"), "harbor.local": auth("harbor:") };
    expect(first({ auths }, "mirror.local", "a", "harbor.local")).toBe("mirror");
    expect(first({ auths }, "other.local", "a", "harbor.local")).toBe("harbor");
  });

  it("names helpers: that of the host first, the general store last", () => {
    const config = {
      auths: { "a.io": {}, "b.io": auth("robot:pw"), "c.io": auth("robot:pw") },
      credHelpers: { "c.io": "own", "https://index.docker.io/v1/": "hub" },
      credsStore: "desktop",
    };
    expect(first(config, "a.io")).toBe("desktop a.io");
    expect(first(config, "b.io")).toBe("robot");
    expect(first(config, "c.io")).toBe("own c.io");
    expect(first(config, "registry-1.docker.io", "library/alpine", "docker.io")).toBe(
      "hub https://index.docker.io/v1/",
    );
    expect(find(config, "c.io").map(({ kind }) => kind)).toEqual(["helper", "identity", "helper"]);
  });

  it.each([
    '{"auths": {"a.io": {"auth": "aHVudGVyMg=="}',
    '["hunter2"]',
    '{"auths": "hunter2"}',
    '{"credHelpers": {"hunter2": 1}}',
    "hunter2",
  ])("that makes no sense is an error without its text: %s", (text) => {
    const parse = () => parseDockerConfig(text);
    expect(parse).toThrow(/JSON|configuration/);
    expect(parse).not.toThrow(/hunter2|aHVudGVyMg/);
  });
});
