import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { ConfigError, loadConfig } from "./config.ts";
import { byteSize, duration, filePath, httpUrl, listenSchema, logSchema, secretText, section } from "./config-types.ts";
import { cron } from "./schedule.ts";
import { Secret } from "./secret.ts";

const schema = section({
  listen: listenSchema({ port: 5000 }),
  auth: section({ tokenFile: filePath().optional(), password: secretText().optional() }),
  storage: z
    .discriminatedUnion("driver", [
      z.strictObject({ driver: z.literal("memory") }),
      z.strictObject({ driver: z.literal("filesystem"), filesystem: section({ path: filePath("./data") }) }),
    ])
    .prefault({ driver: "memory" }),
  maxSize: byteSize().optional(),
  upstreams: z
    .array(z.strictObject({ registry: z.string(), tagTtl: duration("10m"), credentials: credentials().optional() }))
    .default([]),
  extra: z.record(z.string(), z.string()).optional(),
  schedule: cron("17 3 * * *"),
  cacheUrl: httpUrl().optional(),
  log: logSchema(),
});

function credentials() {
  const one = z.strictObject({ username: z.string(), password: secretText() });
  return z.union([one, z.array(one)]);
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "runtime-config-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function load(yaml: string | undefined, env: Record<string, string> = {}, allowed: string[] = []) {
  const file = yaml === undefined ? undefined : join(folder, "config.yaml");
  if (file !== undefined) writeFileSync(file, yaml ?? "");
  return loadConfig({ schema, file, env, allowed });
}

function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error("expected a ConfigError");
}

describe("loadConfig", () => {
  it("applies the defaults without a file, and to an empty file", () => {
    for (const config of [load(undefined), load(""), load("# nothing\n")]) {
      expect(config.listen).toEqual({ host: "127.0.0.1", port: 5000 });
      expect(config.storage).toEqual({ driver: "memory" });
      expect(config.log).toEqual({ level: "info", access: true, format: "json" });
    }
  });

  it("parses durations and sizes into numbers and secrets into Secrets", () => {
    const config = load(`
maxSize: 2Gi
auth: { password: hunter2 }
upstreams: [{ registry: docker.io, tagTtl: 1h30m }, { registry: quay.io, tagTtl: 0 }, { registry: ghcr.io }]
cacheUrl: http://cache:5000/
`);
    expect(config.maxSize).toBe(2 * 1024 ** 3);
    expect(config.upstreams.map((upstream) => upstream.tagTtl)).toEqual([5_400_000, 0, 600_000]);
    expect(config.auth.password).toBeInstanceOf(Secret);
    expect(config.auth.password?.reveal()).toBe("hunter2");
    expect(config.cacheUrl).toBe("http://cache:5000");
  });

  it.each([
    ["http://fd00::1:5000", "http://[fd00::1]:5000"],
    ["https://[fd00::1]:5000/", "https://[fd00::1]:5000"],
    ["http://10.96.0.7:5000", "http://10.96.0.7:5000"],
  ])("takes the URL of a Service's address: %s", (given, url) => {
    expect(load(undefined, { CREG_CACHEURL: given }).cacheUrl).toBe(url);
  });

  it("takes a key without a value as not written", () => {
    expect(load("auth: { tokenFile: }\nlisten:\n").auth).toEqual({});
  });

  it("freezes the result at every depth", () => {
    const config = load("upstreams: [{ registry: docker.io }]");
    expect(() => Object.assign(config.listen, { port: 1 })).toThrow(TypeError);
    expect(() => config.upstreams.push({ registry: "x", tagTtl: 1 })).toThrow(TypeError);
    expect(() => Object.assign(config.upstreams[0] ?? {}, { registry: "x" })).toThrow(TypeError);
  });

  it("lists every problem at once, each with its path and what is allowed", () => {
    const problems = problemsOf(() =>
      load(
        `
listen: { port: 99999, hots: a }
maxSize: many
upstreams: [{ tagTtl: abc }, { registry: docker.io, tagTtl: 10 }]
log: { level: loud, access: "yes" }
cacheUrl: ftp://x
schedule: "61 * * * *"
nonsense: 1
`,
        { CREG_LISTEN__PROT: "1" },
      ),
    );
    expect(problems).toEqual([
      "CREG_LISTEN__PROT: unknown variable; allowed here: CREG_LISTEN__HOST, CREG_LISTEN__PORT, CREG_LISTEN__TLS",
      "listen.port: 99999 is not allowed; expected a port number from 0 to 65535 (0: any free port)",
      "listen.hots: unknown key; allowed here: host, port, tls",
      'maxSize: "many" is not allowed; expected a byte size such as "500M", "2Gi" or 1048576',
      "upstreams.0.registry: is required; expected a text",
      'upstreams.0.tagTtl: "abc" is not allowed; expected a duration such as "500ms", "10s", "10m", "1h30m" or "30d"',
      'upstreams.1.tagTtl: 10 is not allowed; expected a duration such as "500ms", "10s", "10m", "1h30m" or "30d"',
      'schedule: "61 * * * *" is not allowed; expected a cron expression in UTC such as "17 3 * * *"',
      'cacheUrl: "ftp://x" is not allowed; expected an http:// or https:// URL without user name, password, query and fragment',
      'log.level: "loud" is not allowed; expected one of trace, debug, info, warn, error, fatal, silent',
      'log.access: "yes" is not allowed; expected true or false',
      "nonsense: unknown key; allowed here: listen, auth, storage, maxSize, upstreams, extra, schedule, cacheUrl, log",
    ]);
  });

  it("explains unions by the alternative that is meant", () => {
    expect(problemsOf(() => load("storage: { driver: tape }"))).toEqual([
      'storage.driver: "tape" is not allowed; expected one of memory, filesystem',
    ]);
    expect(problemsOf(() => load("storage: { driver: memory, path: x }"))[0]).toMatch(/^storage\.path: unknown key/);
    expect(problemsOf(() => load("upstreams: [{ registry: a, credentials: { username: u } }]"))).toEqual([
      "upstreams.0.credentials.password: is required; expected a text",
    ]);
    expect(problemsOf(() => load("upstreams: [{ registry: a, credentials: 3 }]"))).toEqual([
      "upstreams.0.credentials: this value is not allowed; expected a mapping or a list",
    ]);
  });

  it("never shows a secret in a message", () => {
    const attempts = [
      () => load("auth: { password: [hunter2] }"),
      () => load("auth: { password: 42424242 }"),
      () => load('cacheUrl: "https://user:hunter2@host"'),
      () => load("auth: { password: hunter2"),
      () => load(undefined, { CREG_AUTH__PASSWORD: '"hunter2' }),
      () => load("auth: { password: hunter2 }\nauth: { password: hunter2 }"),
    ];
    for (const attempt of attempts) expect(problemsOf(attempt).join()).not.toMatch(/hunter2|42424242/);
  });

  it("refuses an unreadable file, broken YAML and a document that is no mapping", () => {
    expect(() => loadConfig({ schema, file: join(folder, "absent.yaml"), env: {} })).toThrow(
      /absent\.yaml.*\n.*ENOENT/,
    );
    expect(problemsOf(() => load("listen:\n  port: [1"))[0]).toMatch(/^not valid YAML at line 2/);
    expect(problemsOf(() => load("- a"))).toEqual(["expected a mapping of keys to values"]);
    expect(problemsOf(() => load("listen: {}\nlisten: {}"))[0]).toMatch(/not valid YAML at line 2.*DUPLICATE_KEY/);
  });

  it("sees a key named __proto__", () => {
    expect(problemsOf(() => load('"__proto__": { port: 1 }'))[0]).toMatch(/^__proto__: unknown key/);
  });
});

describe("CREG_ variables", () => {
  it("override the file, keep the rest of it, and find camelCase keys", () => {
    const config = load("listen: { host: 0.0.0.0, port: 1 }", {
      CREG_LISTEN__PORT: "7000",
      CREG_AUTH__TOKENFILE: "/run/token",
      CREG_MAXSIZE: "1Ki",
      CREG_LOG__ACCESS: "false",
      CREG_STORAGE__DRIVER: "filesystem",
      CREG_STORAGE__FILESYSTEM__PATH: "/data",
      PATH: "/bin",
    });
    expect(config.listen).toEqual({ host: "0.0.0.0", port: 7000 });
    expect(config.auth.tokenFile).toBe("/run/token");
    expect(config.maxSize).toBe(1024);
    expect(config.log.access).toBe(false);
    expect(config.storage).toEqual({ driver: "filesystem", filesystem: { path: "/data" } });
  });

  it("set lists and mappings whole", () => {
    const file = "upstreams: [{ registry: a }, { registry: b }]";
    const config = load(file, { CREG_UPSTREAMS: "[{registry: quay.io}]", CREG_EXTRA: "{a: b}" });
    expect(config.upstreams.map((upstream) => upstream.registry)).toEqual(["quay.io"]);
    expect(config.extra).toEqual({ a: "b" });
    expect(problemsOf(() => load(file, { CREG_UPSTREAMS__0__REGISTRY: "x" }))).toEqual([
      "CREG_UPSTREAMS__0__REGISTRY: lists and mappings are set whole, with CREG_UPSTREAMS",
    ]);
  });

  it("let the more precise variable win, whatever their order", () => {
    const env = { CREG_LISTEN__PORT: "1", CREG_LISTEN: "{ host: h, port: 2 }" };
    expect(load(undefined, env).listen).toEqual({ host: "h", port: 1 });
  });

  it("are not what Kubernetes injects for a Service whose name begins with creg", () => {
    const address = "tcp://10.96.0.7:5000";
    const links = {
      CREG_REGISTRY_SERVICE_HOST: "10.96.0.7",
      CREG_REGISTRY_SERVICE_PORT: "5000",
      CREG_REGISTRY_SERVICE_PORT_HTTP: "5000",
      CREG_REGISTRY_PORT: address,
      CREG_REGISTRY_PORT_5000_TCP: address,
      CREG_REGISTRY_PORT_5000_TCP_PROTO: "tcp",
      CREG_REGISTRY_PORT_5000_TCP_PORT: "5000",
      CREG_REGISTRY_PORT_5000_TCP_ADDR: "10.96.0.7",
    };
    expect(load("listen: { port: 1 }", links).listen.port).toBe(1);
    expect(problemsOf(() => load(undefined, { CREG_LISTEN_PORT: "5000" }))).toHaveLength(1);
  });

  it("restore the default when empty", () => {
    expect(load("listen: { port: 1 }", { CREG_LISTEN__PORT: "" }).listen.port).toBe(5000);
  });

  it("are named as the origin of a bad value", () => {
    expect(problemsOf(() => load(undefined, { CREG_LISTEN__PORT: "x" }))).toEqual([
      'listen.port: "x" is not allowed; expected a port number from 0 to 65535 (0: any free port) (set by CREG_LISTEN__PORT)',
    ]);
  });

  it("are refused when unknown, unless allowed", () => {
    expect(problemsOf(() => load(undefined, { CREG_DEBUG: "1" }))[0]).toMatch(
      /^CREG_DEBUG: unknown variable; .*CREG_LOG/,
    );
    expect(problemsOf(() => load(undefined, { CREG_listen__port: "1" }))[0]).toMatch(/unknown variable/);
    expect(load(undefined, { CREG_DEBUG: "1" }, ["CREG_DEBUG"]).listen.port).toBe(5000);
  });
});

describe("building blocks", () => {
  it("give a JSON schema of what the user writes, with what is allowed", () => {
    const json = z.toJSONSchema(section({ ttl: duration("10m").describe("How long"), size: byteSize() }), {
      io: "input",
    });
    expect(json.properties?.ttl).toMatchObject({ default: "10m", description: "How long" });
    expect(json.properties?.ttl).toHaveProperty("allowed", expect.stringContaining("a duration such as"));
    expect(json.required).toEqual(["size"]);
  });
});
