/** `imagePullSecrets:` with its entries commented out: YAML says null, and Helm takes the default away. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ControllersConfig } from "../../packages/controllers/src/config.ts";
import { ProxyConfig } from "../../packages/proxy/src/config.ts";
import { RegistryConfig } from "../../packages/registry/src/config.ts";
import { WebhookConfig } from "../../packages/webhook/src/config.ts";
import { CHART, refusal, render } from "./helm.ts";
import { COMPONENTS } from "./manifests.ts";

interface Schema {
  readonly type?: string;
  readonly minItems?: number;
  readonly properties?: Record<string, Schema>;
}
type Values = { [key: string]: Values | null | readonly [] };

const root = JSON.parse(readFileSync(join(CHART, "values.schema.json"), "utf8")) as Schema;
const CONFIGURATIONS = {
  registry: RegistryConfig,
  webhook: WebhookConfig,
  controllers: ControllersConfig,
  proxy: ProxyConfig,
};
/** The first two have no default that Helm could take away; without the others a process takes its own, which is the same. */
const OTHERS = ["global", "persistance", "registries", "nodeCredentials", "allow"];

/** All values of a type, with this in their place. Lists that must not be empty are left out. */
function emptied(type: string, { properties = {} }: Schema, nothing: null | readonly []): Values {
  const values: Values = {};
  for (const [key, schema] of Object.entries(properties)) {
    if (OTHERS.includes(key)) continue;
    if (schema.properties) values[key] = emptied(type, schema, nothing);
    else if (schema.type === type && schema.minItems === undefined) values[key] = nothing;
  }
  return values;
}

describe("a key without a value", () => {
  it("means none, where it stands for a list", async () => {
    const nothing = await render({ values: emptied("array", root, null) });
    const empty = await render({ values: emptied("array", root, []) });
    expect(nothing.pod("proxy").tolerations).toBeUndefined();
    for (const component of COMPONENTS) {
      expect(nothing.pod(component)).toEqual(empty.pod(component));
      const schema = CONFIGURATIONS[component];
      expect(schema.parse(nothing.config(component))).toEqual(schema.parse(empty.config(component)));
    }
  });

  it("means none, where it stands for a mapping", async () => {
    const manifests = await render({ values: emptied("object", root, null) });
    for (const component of COMPONENTS) {
      expect(manifests.container(component).resources).toEqual({});
      expect(manifests.pod(component).nodeSelector).toEqual({ "kubernetes.io/os": "linux" });
    }
  });

  it.each([
    [{ registry: null }, "at '': missing property 'registry'"],
    [{ registry: { storage: { blobs: null } } }, "at '/registry/storage': missing property 'blobs'"],
    [{ proxy: { hostsToml: null } }, "at '/proxy': missing property 'hostsToml'"],
  ])("is refused by its name, where it stands for a whole section: %j", async (values, why) => {
    expect(await refusal({ values })).toContain(why);
  });
});
