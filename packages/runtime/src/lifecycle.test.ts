import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { afterEach, describe, expect, it, vi } from "vitest";

type Child = {
  readonly process: ChildProcessByStdio<null, Readable, Readable>;
  readonly output: () => string;
  readonly errors: () => string;
  readonly exit: Promise<number | null>;
};

const module = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);

const PRELUDE = `
  import { runMain, runProcess, serverService } from ${module("./lifecycle.ts")};
  import { ConfigError } from ${module("./config.ts")};
  import { createHealth, createManagementServer } from ${module("./health.ts")};
  import { createLogger } from ${module("./logger.ts")};
  import { createMetrics } from ${module("./metrics.ts")};
  import { createServer } from ${module("./server.ts")};
  const logger = createLogger({ component: "test" });
  const health = createHealth();
  const metrics = createMetrics({ defaultMetrics: false });
  const say = (text) => process.stdout.write(text + "\\n");
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const traced = (name, more = {}) => ({ name, start: () => say("start " + name), stop: () => say("stop " + name), ...more });
  const listen = { host: "127.0.0.1", port: 0 };
`;

const children: Child[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.process.exitCode === null) child.process.kill("SIGKILL");
    await child.exit;
  }
});

/** Runs a program in a process of its own, as it would run in a container. */
function run(body: string): Child {
  const process_ = spawn(process.execPath, ["--input-type=module", "--eval", PRELUDE + body], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let errors = "";
  process_.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
  });
  process_.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    errors += chunk;
  });
  const exit = new Promise<number | null>((resolve) => process_.on("close", (code) => resolve(code)));
  const child = { process: process_, output: () => output, errors: () => errors, exit };
  children.push(child);
  return child;
}

async function until(child: Child, text: string): Promise<void> {
  await vi.waitFor(
    () => {
      if (!child.output().includes(text)) throw new Error(`no ${text} in: ${child.output()}${child.errors()}`);
    },
    { timeout: 10_000 },
  );
}

/** URLs the child listens on, in the order of its services. */
function urls(child: Child): string[] {
  return [...child.output().matchAll(/"url":"([^"]+)"/g)].map((match) => match[1] ?? "");
}

const steps = (child: Child): string[] => child.output().match(/^(?:start|stop) \w+$/gm) ?? [];

describe("runProcess", () => {
  it("starts in order, stops in reverse on SIGTERM, and exits 0", async () => {
    const child = run(`await runProcess({ logger, health, services: [traced("a"), traced("b"), { name: "bare" }] });`);
    await until(child, '"msg":"ready"');
    child.process.kill("SIGTERM");
    expect(await child.exit).toBe(0);
    expect(steps(child)).toEqual(["start a", "start b", "stop b", "stop a"]);
    expect(child.output()).toContain('"msg":"stopped"');
  });

  it("answers unready during the grace, still serves, and lets a running request finish", async () => {
    const child = run(`
      const server = createServer({ logger, name: "public" });
      const released = new Promise((resolve) => process.once("SIGUSR2", resolve));
      server.get("/slow", async () => { say("slow begins"); await released; return "finished"; });
      server.get("/quick", async () => "quick");
      const management = createManagementServer({ health, metrics, logger });
      await runProcess({ logger, health, grace: 1500, services: [
        serverService({ name: "management", server: management, listen }),
        serverService({ name: "public", server, listen }),
      ] });
    `);
    await until(child, '"msg":"ready"');
    const [management, server] = urls(child);
    expect((await fetch(`${management}/readyz`)).status).toBe(200);
    const slow = fetch(`${server}/slow`).then((response) => response.text());
    await until(child, "slow begins");
    child.process.kill("SIGTERM");
    await until(child, "shutting down");
    const readiness = await fetch(`${management}/readyz`);
    expect([readiness.status, await readiness.text()]).toEqual([503, expect.stringContaining("shutting down")]);
    expect(await (await fetch(`${server}/quick`)).text()).toBe("quick");
    const refused = () => expect(fetch(`${server}/quick`)).rejects.toThrow("fetch failed");
    await vi.waitFor(refused, { timeout: 10_000 });
    expect((await fetch(`${management}/livez`)).status).toBe(200);
    child.process.kill("SIGUSR2");
    expect(await slow).toBe("finished");
    expect(await child.exit).toBe(0);
  });

  it("cuts a request that takes too long, so that what was started before it can stop in order", async () => {
    const child = run(`
      const server = createServer({ logger, name: "public" });
      server.get("/endless", (request, reply) => {
        reply.hijack();
        reply.raw.writeHead(200).write("begun");
        say("request begins");
      });
      await runProcess({ logger, health, drainTimeout: 2_000, services: [
        traced("store"),
        serverService({ name: "public", server, listen }),
      ] });
    `);
    await until(child, '"msg":"ready"');
    const endless = fetch(`${urls(child)[0]}/endless`).then((response) => response.text());
    await until(child, "request begins");
    child.process.kill("SIGTERM");
    await expect(endless).rejects.toThrow("terminated");
    expect(await child.exit).toBe(0);
    expect(steps(child)).toEqual(["start store", "stop store"]);
  });

  it("exits 1 when the deadline is missed", async () => {
    const child = run(`
      await runProcess({ logger, health, drainTimeout: 200, services: [traced("stuck", { stop: () => sleep(60_000) })] });
    `);
    await until(child, '"msg":"ready"');
    child.process.kill("SIGTERM");
    expect(await child.exit).toBe(1);
    expect(child.output()).toContain("shutdown deadline missed");
  });

  it("exits at once on a second signal", async () => {
    const child = run(`
      await runProcess({ logger, health, services: [traced("stuck", { stop: () => sleep(60_000) })] });
    `);
    await until(child, '"msg":"ready"');
    child.process.kill("SIGTERM");
    await until(child, "shutting down");
    const started = performance.now();
    child.process.kill("SIGINT");
    expect(await child.exit).toBe(1);
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  it("stops what had started when a start fails, and exits 1", async () => {
    const child = run(`
      const broken = traced("broken", { start: async () => { throw new Error("no disk"); } });
      await runMain(() => runProcess({ logger, health, services: [traced("a"), broken, traced("c")] }));
    `);
    expect(await child.exit).toBe(1);
    expect(steps(child)).toEqual(["start a", "stop a"]);
    expect(child.output()).toContain("no disk");
  });

  it("gives up a start in progress when told to end", async () => {
    const child = run(`
      const slow = traced("slow", { start: (signal) => new Promise((_, reject) => {
        const timer = setTimeout(() => {}, 60_000);
        say("starting");
        signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); });
      }) });
      await runMain(() => runProcess({ logger, health, grace: 5_000, services: [traced("a"), slow, traced("c")] }));
    `);
    await until(child, "starting");
    const started = performance.now();
    child.process.kill("SIGTERM");
    expect(await child.exit).toBe(0);
    expect(performance.now() - started).toBeLessThan(4_000);
    expect(steps(child)).toEqual(["start a", "stop a"]);
    expect(child.output()).not.toContain('"msg":"ready"');
  });

  it("goes on stopping after a stop that fails, and exits 1", async () => {
    const child = run(`
      const bad = traced("bad", { stop: () => { throw new Error("stuck file"); } });
      await runProcess({ logger, health, services: [traced("a"), bad] });
    `);
    await until(child, '"msg":"ready"');
    child.process.kill("SIGINT");
    expect(await child.exit).toBe(1);
    expect(steps(child)).toEqual(["start a", "start bad", "stop a"]);
    expect(child.output()).toContain("stuck file");
  });

  for (const [kind, code] of [
    ["a rejection that nobody handles", `setTimeout(() => void Promise.reject(new Error("lost promise")), 50)`],
    ["an exception that nobody catches", `setTimeout(() => { throw new Error("lost promise"); }, 50)`],
  ] as const) {
    it(`logs ${kind} and exits 1`, async () => {
      const child = run(
        `await runProcess({ logger, health, services: [traced("a", { start: () => { ${code}; } })] });`,
      );
      expect(await child.exit).toBe(1);
      expect(child.output()).toMatch(/"level":"fatal".*lost promise.*"msg":"unhandled error"/);
    });
  }
});

describe("runMain", () => {
  it("prints a ConfigError's message alone and exits 2, before anything listens", async () => {
    const child = run(`
      await runMain(async () => { throw new ConfigError(["listen.port: is bad", "log.level: is worse"], "/etc/config.yaml"); });
    `);
    expect(await child.exit).toBe(2);
    expect(child.errors()).toBe(
      "the configuration in /etc/config.yaml is not valid:\n  listen.port: is bad\n  log.level: is worse\n",
    );
    expect(child.output()).toBe("");
  });

  it("exits 2 also for a ConfigError at a service's start", async () => {
    const child = run(`
      const service = traced("tls", { start: () => { throw new ConfigError(["no certificate"]); } });
      await runMain(() => runProcess({ logger, health, services: [service] }));
    `);
    expect(await child.exit).toBe(2);
    expect(child.errors()).toContain("  no certificate\n");
  });

  it("prints any other error and exits 1", async () => {
    const child = run(`await runMain(async () => { throw new Error("unexpected"); });`);
    expect(await child.exit).toBe(1);
    expect(child.errors()).toContain("Error: unexpected");
  });
});
