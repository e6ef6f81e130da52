import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { ControllersConfig } from "../../packages/controllers/src/config.ts";
import { ProxyConfig } from "../../packages/proxy/src/config.ts";
import { RegistryConfig } from "../../packages/registry/src/config.ts";
import { loadConfig } from "../../packages/runtime/src/config.ts";
import { WebhookConfig } from "../../packages/webhook/src/config.ts";
import { render } from "./helm.ts";
import { COMPONENTS, type Component, type Manifests } from "./manifests.ts";
import { EVERY_VALUE, EXTERNAL_REGISTRY, HIGHLY_AVAILABLE, STORES } from "./value-sets.ts";

const SCHEMAS = {
  registry: RegistryConfig,
  webhook: WebhookConfig,
  controllers: ControllersConfig,
  proxy: ProxyConfig,
};

const CASES: readonly (readonly [string, Record<string, unknown>])[] = [
  ["the default values", {}],
  ["every value changed", EVERY_VALUE],
  ["many replicas", HIGHLY_AVAILABLE],
  ["the registry of another cluster", EXTERNAL_REGISTRY],
  ...Object.entries(STORES),
];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "creg-chart-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function present(manifests: Manifests): readonly Component[] {
  return COMPONENTS.filter((component) =>
    manifests.ofKind("ConfigMap").some((one) => one.metadata.name.endsWith(component)),
  );
}

/** What Kubernetes puts in place of `$(NAME)`. */
function environmentOf(manifests: Manifests, component: Component): Record<string, string> {
  return Object.fromEntries(
    (manifests.container(component).env ?? []).map(({ name, value }) => [
      name,
      (value ?? "10.1.2.3").replace(/\$\(\w+\)/g, "10.1.2.3"),
    ]),
  );
}

function filesIn(config: unknown): string[] {
  if (typeof config === "string") return config.startsWith("/etc/") || config.startsWith("/var/") ? [config] : [];
  return typeof config === "object" && config !== null ? Object.values(config).flatMap(filesIn) : [];
}

describe.each(CASES)("with %s", (_, values) => {
  it("each process accepts its configuration", async () => {
    const manifests = await render({ values });
    for (const component of present(manifests)) {
      const file = join(folder, "config.yaml");
      const rendered = manifests.config(component);
      writeFileSync(file, stringify(rendered));
      const env = environmentOf(manifests, component);
      const loaded = loadConfig({ schema: SCHEMAS[component], file, env });
      expect(Object.keys(loaded)).toEqual(expect.arrayContaining(Object.keys(rendered)));
    }
  });

  it("each file in a configuration is in a volume of the pod, and each volume is mounted", async () => {
    const manifests = await render({ values });
    for (const component of present(manifests)) {
      const { volumeMounts } = manifests.container(component);
      const { volumes } = manifests.pod(component);
      for (const file of filesIn(manifests.config(component))) {
        const mount = volumeMounts.find(({ mountPath }) => file === mountPath || file.startsWith(`${mountPath}/`));
        expect([component, file, mount?.name]).toEqual([component, file, expect.any(String)]);
        const items = volumes.find(({ name }) => name === mount?.name)?.secret?.items as { path: string }[] | undefined;
        const offered = items?.map(({ path }) => `${mount?.mountPath}/${path}`) ?? [file];
        expect(offered).toContain(file);
      }
      expect(volumeMounts.map(({ name }) => name).sort()).toEqual(volumes.map(({ name }) => name).sort());
      expect(new Set(volumes.map(({ name }) => name)).size).toBe(volumes.length);
      for (const { name } of volumes) expect(name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
    }
  });
});
