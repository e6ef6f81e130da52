import { describe, expect, it } from "vitest";
import { defaultUpstreams, findUpstream, tagRuleOf, upstreamListSchema, upstreamsSchema } from "./upstream.ts";

function problems(...upstreams: unknown[]): string {
  const result = upstreamListSchema.safeParse(upstreams);
  return result.success
    ? ""
    : result.error.issues.map(({ path, message }) => `${path.join(".")} ${message}`).join("\n");
}

describe("the schema", () => {
  it("is Docker Hub alone by default", () => {
    expect(upstreamsSchema.parse(undefined)).toEqual(defaultUpstreams);
    expect(defaultUpstreams).toMatchObject([
      {
        registry: "docker.io",
        endpoints: ["https://registry-1.docker.io"],
        tagTtl: 600_000,
        timeouts: { connect: 5000, headers: 20_000, idle: 60_000 },
        concurrency: 32,
      },
    ]);
  });

  it("normalises names and hides secrets", () => {
    const [upstream] = upstreamListSchema.parse([
      {
        registry: "Registry-1.docker.io",
        endpoints: ["https://mirror.example.com/"],
        credentials: { username: "u", password: "hunter2" },
      },
    ]);
    expect(upstream).toMatchObject({ registry: "docker.io", endpoints: ["https://mirror.example.com"] });
    expect(JSON.stringify(upstream)).not.toContain("hunter2");
  });

  it.each([
    [{ registry: "docker.io", rate: 0 }, "rate"],
    [{ registry: "https://docker.io" }, "registry"],
    [{ registry: "2130706433" }, "registry"],
    [{ registry: "a.io", endpoints: ["ftp://a.io"] }, "endpoints.0"],
    [{ registry: "a.io", endpoints: ["https://user:pw@a.io"] }, "endpoints.0"],
    [{ registry: "a.io", paths: ["a/b"] }, "paths.0"],
    [{ registry: "a.io", hosts: ["a b"] }, "hosts.0"],
    [{ registry: "a.io", credentials: { username: "u" } }, "password"],
    [{ registry: "a.io", credentials: { username: "u", usernameFile: "f", password: "p" } }, "username"],
    [{ registry: "a.io", credentials: {} }, "exactly one of"],
    [{ registry: "a.io", credentials: { helper: "x", provider: "ecr" } }, "exactly one of"],
    [{ registry: "a.io", credentials: { provider: "gcp", region: "x" } }, "region is for provider ecr only"],
    [{ registry: "a.io", credentials: { helper: "x", tenantId: "y" } }, "tenantId is for provider acr only"],
    [{ registry: "a.io", credentials: { helper: "x", prefix: "/team" } }, "prefix"],
    [{ registry: "a.io", credentials: [{ helper: "x" }, { helper: "y" }] }, "two entries have no prefix"],
    [
      {
        registry: "a.io",
        credentials: [
          { prefix: "p", helper: "x" },
          { prefix: "p", helper: "y" },
        ],
      },
      "listed twice",
    ],
    [{ registry: "a.io", credentials: [{ helper: "x" }, { prefix: "p", username: "y" }] }, "password"],
    [{ registry: "a.io", tls: { certFile: "c" } }, "keyFile"],
    [{ registry: "a.io", tagTtl: "soon" }, "tagTtl"],
    [{ registry: "a.io", tags: [{ match: "(" }] }, "tags.0.match"],
    [{ registry: "a.io", concurrency: 0 }, "concurrency"],
  ])("refuses %o", (upstream, named) => expect(problems(upstream)).toContain(named));

  it("refuses names that are listed twice", () => {
    expect(problems({ registry: "docker.io" }, { registry: "index.docker.io" })).toContain("docker.io is listed twice");
    expect(problems({ registry: "a.io", paths: ["x"] }, { registry: "b.io", paths: ["x"] })).toContain("path x");
    expect(problems({ registry: "a.io", hosts: ["x.io"] }, { registry: "b.io", hosts: ["X.io"] })).toContain(
      "host x.io",
    );
  });
});

describe("findUpstream", () => {
  it("knows an endpoint for every registry", () => {
    expect(findUpstream([], "docker.io").endpoints).toEqual(["https://registry-1.docker.io"]);
    expect(findUpstream([], "quay.io:8443").endpoints).toEqual(["https://quay.io:8443"]);
    const listed = upstreamListSchema.parse([{ registry: "ghcr.io", concurrency: 3 }]);
    expect(findUpstream(listed, "ghcr.io")).toMatchObject({ concurrency: 3, endpoints: ["https://ghcr.io"] });
  });
});

describe("tagRuleOf", () => {
  it("takes the first rule that matches", () => {
    const tags = [{ match: "^latest$", ttl: "0s" }, { match: "^stable-", freeze: true }, { match: "st" }];
    const upstream = findUpstream(upstreamListSchema.parse([{ registry: "a.io", tagTtl: "5m", tags }]), "a.io");
    expect(tagRuleOf(upstream, "latest")).toEqual({ ttl: 0, freeze: false });
    expect(tagRuleOf(upstream, "stable-1")).toEqual({ ttl: 300_000, freeze: true });
    expect(tagRuleOf(upstream, "1.27")).toEqual({ ttl: 300_000, freeze: false });
  });
});
