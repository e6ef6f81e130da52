import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { loadConfig } from "./config.ts";
import { secretText } from "./config-types.ts";
import { createConfigWatch } from "./config-watch.ts";
import { createHealth } from "./health.ts";
import { silentLogger } from "./logger.ts";
import { createMetrics } from "./metrics.ts";

const Schema = z.strictObject({
  names: z.array(z.string()).default([]),
  port: z.int().default(1),
  key: secretText().optional(),
});
type Config = z.output<typeof Schema>;

let folder: string;
let file: string;
const stops: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "creg-watch-"));
  file = join(folder, "config.yaml");
  await writeFile(file, "names: [a]\n");
});
afterEach(async () => {
  for (const stop of stops.splice(0)) stop();
  await rm(folder, { recursive: true, force: true });
});

function watching({ startWith = (config: Config) => config } = {}) {
  const load = (): Config => loadConfig({ schema: Schema, file, env: {} });
  const [health, metrics, logger] = [createHealth(), createMetrics({ defaultMetrics: false }), silentLogger()];
  const applied: Config[] = [];
  const watch = createConfigWatch({
    file,
    load,
    config: startWith(load()),
    hot: ["names"],
    apply: (config) => applied.push(config),
    health,
    metrics,
    logger,
    interval: 10,
  });
  stops.push(() => watch.stop?.());
  const check = async () => (await health.report()).checks.find(({ name }) => name === "configuration");
  return { watch, applied, check, metrics };
}

const soon = (body: () => unknown) => vi.waitFor(body, { timeout: 10_000, interval: 10 });

describe("createConfigWatch", () => {
  it("applies what changed, once", async () => {
    const { watch, applied, check, metrics } = watching();
    await watch.start?.(new AbortController().signal);
    await writeFile(file, "names: [a, b]\n");
    await soon(() => expect(applied).toEqual([{ names: ["a", "b"], port: 1 }]));
    await writeFile(file, "names: [c]\n");
    await soon(() => expect(applied).toHaveLength(2));
    expect(await check()).toMatchObject({ ok: true });
    expect(await metrics.text()).toContain('cache_registry_config_reloads_total{result="accepted"} 2');
  });

  it("goes on with the last good configuration while the file is bad, and says why", async () => {
    const { watch, applied, check, metrics } = watching();
    await watch.start?.(new AbortController().signal);
    await writeFile(file, "names: [b]\nport: many\n");
    await soon(async () =>
      expect(await check()).toMatchObject({ ok: false, warnOnly: true, why: expect.stringContaining("port:") }),
    );
    await rm(file);
    await soon(async () => expect((await check())?.why).toContain("ENOENT"));
    expect(applied).toEqual([]);
    expect(await metrics.text()).toContain("cache_registry_config_last_reload_successful 0");
    expect(await metrics.text()).toContain('cache_registry_config_reloads_total{result="refused"} 2');
    await writeFile(file, "names: [a]\n");
    await soon(async () => expect(await check()).toMatchObject({ ok: true }));
    expect(applied).toEqual([]);
    expect(await metrics.text()).toContain("cache_registry_config_last_reload_successful 1");
  });

  it("says which changes need a restart, until they are taken back", async () => {
    const { watch, applied, check } = watching();
    await watch.start?.(new AbortController().signal);
    await writeFile(file, "names: [b]\nport: 2\n");
    await soon(async () => expect((await check())?.why).toBe("a restart is needed for changes of port"));
    expect(applied).toMatchObject([{ names: ["b"] }]);
    await writeFile(file, "names: [b]\n");
    await soon(async () => expect(await check()).toMatchObject({ ok: true }));
  });

  it("follows a mounted ConfigMap, whose folder is swapped by a symlink", async () => {
    const content = await readFile(file, "utf8");
    await rm(file);
    for (const [version, text] of [
      ["..1", content],
      ["..2", "names: [swapped]\n"],
    ] as const) {
      await mkdir(join(folder, version));
      await writeFile(join(folder, version, "config.yaml"), text);
    }
    await symlink("..1", join(folder, "..data"));
    await symlink("..data/config.yaml", file);
    const { watch, applied } = watching();
    await watch.start?.(new AbortController().signal);
    await symlink("..2", join(folder, "..data_tmp"));
    await rename(join(folder, "..data_tmp"), join(folder, "..data"));
    await soon(() => expect(applied).toMatchObject([{ names: ["swapped"] }]));
  });

  it("notices what changed while the process started", async () => {
    const { watch, applied } = watching({ startWith: (config) => ({ ...config, names: ["older"] }) });
    await watch.start?.(new AbortController().signal);
    expect(applied).toMatchObject([{ names: ["a"] }]);
  });

  it("sees that a secret changed, without showing it", async () => {
    await writeFile(file, "key: one\n");
    const { watch, check } = watching();
    await watch.start?.(new AbortController().signal);
    await writeFile(file, "key: two\n");
    await soon(async () => expect((await check())?.why).toBe("a restart is needed for changes of key"));
  });
});
