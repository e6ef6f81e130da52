import { describe, expect, it } from "vitest";
import { createLogger, type LogLevel, silentLogger } from "./logger.ts";
import { Secret } from "./secret.ts";

function capture(level?: LogLevel) {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const logger = createLogger({ component: "registry", destination, ...(level === undefined ? {} : { level }) });
  return { logger, lines, last: (): Record<string, unknown> => JSON.parse(lines.at(-1) ?? "{}") };
}

describe("createLogger", () => {
  it("writes JSON lines with fixed keys", () => {
    const { logger, last } = capture();
    logger.info({ upstream: "docker.io", status: 200 }, "fetched");
    const { time, ...rest } = last();
    expect(rest).toEqual({ level: "info", component: "registry", upstream: "docker.io", status: 200, msg: "fetched" });
    expect(new Date(String(time)).getTime()).toBeGreaterThan(Date.now() - 60_000);
  });

  it("obeys the level", () => {
    const { logger, lines } = capture("warn");
    logger.info("no");
    logger.warn("yes");
    expect(lines).toHaveLength(1);
  });

  it("hides values of secret keys at any depth, in children and in lists", () => {
    const { logger, lines } = capture();
    logger.info(
      {
        headers: {
          Authorization: "Bearer hunter2",
          "proxy-authorization": "hunter2",
          "set-cookie": ["hunter2"],
          host: "h",
        },
        credentials: { username: "hunter2", password: "hunter2" },
        list: [{ identitytoken: "hunter2", access_token: "hunter2", clientSecret: "hunter2" }],
        deep: { a: { b: { token: "hunter2" } } },
        value: new Secret("hunter2"),
        tokenFile: "/run/token",
      },
      "request",
    );
    logger.child({ auth: "hunter2", registryToken: "hunter2" }).info("child");
    expect(lines.join()).not.toContain("hunter2");
    const [first = "{}"] = lines;
    expect(JSON.parse(first)).toMatchObject({
      headers: { Authorization: "[redacted]", host: "h" },
      tokenFile: "/run/token",
    });
  });

  it("writes errors with their causes but without other properties and user information", () => {
    const { logger, last, lines } = capture();
    const cause = Object.assign(new Error("connect to https://user:hunter2@host failed"), { code: "ECONNREFUSED" });
    const err = Object.assign(new Error("fetch failed", { cause }), { headers: { authorization: "hunter2" } });
    logger.error({ err }, "upstream failed");
    logger.error(err, "upstream failed");
    logger.error({ nested: { failure: err } }, "upstream failed");
    logger.error(cause);
    logger.child({ endpoint: "https://user:hunter2@host/v2/" }).info("https://user:hunter2@host");
    expect(lines.join()).not.toContain("hunter2");
    expect(lines).toHaveLength(5);
    logger.error({ err }, "upstream failed");
    expect(last().err).toMatchObject({
      type: "Error",
      message: "fetch failed",
      stack: expect.stringContaining("logger.test.ts"),
      cause: { code: "ECONNREFUSED", message: "connect to https://[redacted]@host failed" },
    });
  });

  it("survives values that are very deep or that were thrown without being errors", () => {
    const { logger, lines, last } = capture();
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    logger.info({ loop }, "deep");
    logger.error({ err: "plain" }, "thrown");
    logger.child({ one: 1 }).child({ two: 2 }).info("grandchild");
    expect(lines).toHaveLength(3);
    expect(last()).toMatchObject({ component: "registry", one: 1, two: 2 });
  });

  it("names instances instead of opening them, unless they know how to be JSON", () => {
    const { logger, last } = capture();
    const request = new Request("http://host", { headers: { authorization: "hunter2" } });
    logger.info({ request, at: new Date(0), url: new URL("http://host/a@b") }, "instances");
    expect(last()).toMatchObject({ request: "[Request]", at: "1970-01-01T00:00:00.000Z", url: "http://host/a@b" });
  });
});

it("silentLogger writes nothing at any level", () => {
  expect(silentLogger().isLevelEnabled("fatal")).toBe(false);
});
