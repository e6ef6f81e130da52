import { isCodedError } from "@cache-registry/core/errors";
import { describe, expect, it } from "vitest";
import { createTargetResolver, type TargetQuery } from "./target.ts";
import { upstreamListSchema } from "./upstream.ts";

const upstreams = upstreamListSchema.parse([
  { registry: "index.docker.io", paths: ["hub"], hosts: ["docker.cache.example.com", "other.example.com:8443"] },
  { registry: "harbor.local:5000" },
  { registry: "registry:5000" },
]);
const resolver = createTargetResolver({
  upstreams,
  externalNames: ["registry.example.com", "Registry.example.com:8443", "localhost:7439"],
});

/** As one line: `registry repository`, `local repository`, or `code status`. */
function resolved(query: TargetQuery): string {
  try {
    const target = resolver.resolve(query);
    return `${target.kind === "local" ? "local" : target.registry} ${target.repository}`;
  } catch (error) {
    if (isCodedError(error)) return `${error.code} ${error.status}`;
    throw error;
  }
}

describe("by path", () => {
  it.each([
    ["docker.io/library/nginx", "docker.io library/nginx"],
    ["docker.io/nginx", "docker.io library/nginx"],
    ["index.docker.io/nginx", "docker.io library/nginx"],
    ["registry-1.docker.io/grafana/grafana", "docker.io grafana/grafana"],
    ["ghcr.io/a/b/c", "ghcr.io a/b/c"],
    ["ghcr.io/nginx", "ghcr.io nginx"],
    ["hub/nginx", "docker.io library/nginx"],
    ["hub/grafana/grafana", "docker.io grafana/grafana"],
    ["harbor.local_5000/team/app", "harbor.local:5000 team/app"],
    ["quay.io_8443/a/b", "quay.io:8443 a/b"],
    ["registry_5000/app", "registry:5000 app"],
    ["localhost/app", "localhost app"],
    ["127.0.0.1_5000/app", "127.0.0.1:5000 app"],
    ["xn--bcher-kva.example/app", "xn--bcher-kva.example app"],
  ])("%s is %s", (path, expected) => expect(resolved({ path })).toBe(expected));

  it.each([
    ["app", "local app"],
    ["team/app", "local team/app"],
    ["hub", "local hub"],
    ["docker.io", "local docker.io"],
    ["registry_5001/app", "local registry_5001/app"],
    ["localhost_5000/app", "local localhost_5000/app"],
    ["team/docker.io/nginx", "local team/docker.io/nginx"],
    ["registry.example.com/team/app", "local team/app"],
    ["registry.example.com_8443/app", "local app"],
    ["registry.example.com/docker.io/library/nginx", "local docker.io/library/nginx"],
  ])("%s is %s", (path, expected) => expect(resolved({ path })).toBe(expected));

  it.each([
    "",
    "/",
    "docker.io/",
    "docker.io//nginx",
    "Docker.io/nginx",
    "docker.io/Nginx",
    "docker.io./nginx",
    "docker.io:443/nginx",
    "user@docker.io/nginx",
    "docker.io/../nginx",
    "docker.io/ng%00inx",
    "docker.io/nginx\u0000",
    "docker.io/nginx\r\nx: y",
    "[::1]/nginx",
    "büro.example/app",
    "a.b_c.d/app",
    "0x7f.1/app",
    "127.1/app",
    "0177.0.0.1/app",
    "127.0.0.1_0/app",
    "quay.io_99999/app",
    `docker.io/${"a".repeat(250)}`,
    "..",
    "docker.io\\nginx",
  ])("%j is no name", (path) => expect(resolved({ path })).toBe("NAME_INVALID 400"));
});

describe("by namespace", () => {
  it.each([
    ["docker.io", "library/nginx", "docker.io library/nginx"],
    ["docker.io", "nginx", "docker.io library/nginx"],
    ["registry-1.docker.io", "nginx", "docker.io library/nginx"],
    ["GHCR.io", "a/b", "ghcr.io a/b"],
    ["harbor.local:5000", "team/app", "harbor.local:5000 team/app"],
    ["unlisted:5000", "app", "unlisted:5000 app"],
    ["[::1]:5000", "app", "[::1]:5000 app"],
    // The path is taken verbatim.
    ["ghcr.io", "docker.io/library/nginx", "ghcr.io docker.io/library/nginx"],
    ["ghcr.io", "hub/nginx", "ghcr.io hub/nginx"],
    ["ghcr.io", "registry.example.com/app", "ghcr.io registry.example.com/app"],
    ["docker.cache.example.com", "nginx", "docker.io library/nginx"],
  ])("ns=%s %s is %s", (ns, path, expected) => expect(resolved({ path, ns })).toBe(expected));

  it.each([
    "",
    " ",
    "docker.io ",
    "docker.io.",
    "user@docker.io",
    "docker.io@evil.example",
    "user:password@docker.io",
    "docker.io/library",
    "https://docker.io",
    "docker.io\u0000",
    "docker.io%00",
    "docker.io\r\nx: y",
    "docker.io?a=b",
    "docker.io#a",
    "bücher.example",
    "ｄocker.io",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "docker.io:0",
    "docker.io:65536",
    "docker.io:",
    ":5000",
    "[::1",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "::1",
    "-a.example",
    "a..b",
    "*",
  ])("ns=%j is malformed", (ns) => expect(resolved({ path: "library/nginx", ns })).toBe("BAD_REQUEST 400"));

  it("given twice is refused, even when the same", () => {
    expect(resolved({ path: "a/b", ns: ["ghcr.io", "ghcr.io"] })).toBe("BAD_REQUEST 400");
    expect(resolved({ path: "a/b", ns: ["ghcr.io"] })).toBe("ghcr.io a/b");
    expect(resolved({ path: "a/b", ns: [] })).toBe("local a/b");
  });

  it("naming ourselves is ignored", () => {
    const path = "docker.io/nginx";
    expect(resolved({ path, ns: "localhost:7439" })).toBe("docker.io library/nginx");
    expect(resolved({ path, ns: "registry.example.com" })).toBe("docker.io library/nginx");
    expect(resolved({ path, ns: "Cache.internal:5000", host: "cache.internal:5000" })).toBe("docker.io library/nginx");
    expect(resolved({ path: "app", ns: "registry.example.com" })).toBe("local app");
  });

  it("does not excuse a bad path", () => expect(resolved({ path: "../a", ns: "ghcr.io" })).toBe("NAME_INVALID 400"));

  it("tells that it was named so", () => {
    expect(resolver.resolve({ path: "a/b", ns: "ghcr.io" })).toMatchObject({ byNamespace: true });
    expect(resolver.resolve({ path: "ghcr.io/a/b" })).toMatchObject({ byNamespace: false });
  });
});

describe("by virtual host", () => {
  it.each([
    ["docker.cache.example.com", "nginx", "docker.io library/nginx"],
    ["Docker.cache.example.com:5000", "nginx", "docker.io library/nginx"],
    ["other.example.com:8443", "a/b", "docker.io a/b"],
    ["other.example.com", "a/b", "local a/b"],
    ["docker.cache.example.com", "ghcr.io/a/b", "docker.io ghcr.io/a/b"],
    ["unknown.example.com", "a/b", "local a/b"],
  ])("%s %s is %s", (host, path, expected) => expect(resolved({ path, host })).toBe(expected));

  it("comes after the namespace", () => {
    expect(resolved({ path: "a/b", ns: "ghcr.io", host: "docker.cache.example.com" })).toBe("ghcr.io a/b");
  });
});
