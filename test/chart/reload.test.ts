/** What restarts pods, and what the processes take over by themselves. */
import { describe, expect, it } from "vitest";
import { HOT_KEYS as PROXY_HOT_KEYS } from "../../packages/proxy/src/config.ts";
import { HOT_KEYS as REGISTRY_HOT_KEYS } from "../../packages/registry/src/config.ts";
import { render } from "./helm.ts";
import { COMPONENTS, type Component, type Manifests } from "./manifests.ts";

const HOT = { registry: REGISTRY_HOT_KEYS, proxy: PROXY_HOT_KEYS, webhook: [], controllers: [] } as const;

function podOf(manifests: Manifests, component: Component): string {
  return JSON.stringify(manifests.workload(component).spec.template);
}

/** Components whose pods are another, from one set of values to the other. */
async function restarted(before: object, after: object): Promise<readonly Component[]> {
  const [one, other] = [await render({ values: { ...before } }), await render({ values: { ...after } })];
  return COMPONENTS.filter((component) => podOf(one, component) !== podOf(other, component));
}

describe.each(COMPONENTS)("a change in the configuration of %s", (component) => {
  it("restarts it for each key, but not for those that it reads again", async () => {
    const plain = await render();
    const hot: readonly string[] = HOT[component];
    const keys = [...Object.keys(plain.config(component)), "upstreams"];
    for (const key of new Set(keys)) {
      const changed = await render({ values: { [component]: { config: { [key]: "changed" } } } });
      expect(changed.config(component)[key]).toBe("changed");
      const same = podOf(changed, component) === podOf(plain, component);
      expect([key, same ? "reads it again" : "restarts"]).toEqual([
        key,
        hot.includes(key) ? "reads it again" : "restarts",
      ]);
    }
  });
});

describe("values", () => {
  const HUB = { registry: "docker.io", endpoints: ["https://mirror.example.com"], tagTtl: "10m" };

  it("of an upstream restart nothing", async () => {
    const after = { ...HUB, endpoints: ["https://other.example.com"], tagTtl: "1m", rate: 5 };
    expect(await restarted({ upstreams: [HUB] }, { upstreams: [after] })).toEqual([]);
  });

  it("that add an upstream restart who has to know of it, and who gets its Secret", async () => {
    expect(await restarted({ upstreams: [HUB] }, { upstreams: [HUB, { registry: "quay.io" }] })).toEqual([
      "webhook",
      "controllers",
    ]);
    const withSecret = { ...HUB, credentials: { existingSecret: "hub" } };
    expect(await restarted({ upstreams: [HUB] }, { upstreams: [withSecret] })).toEqual(["registry", "webhook"]);
    const withAuthority = { ...HUB, tls: { existingSecret: "hub" } };
    expect(await restarted({ upstreams: [HUB] }, { upstreams: [withAuthority] })).toEqual(["registry", "proxy"]);
  });

  it("of a registry that takes them over at once restart nothing", async () => {
    const registry = { airGapped: true, externalNames: ["images.example.com"], upstreamPolicy: "listed" };
    expect(await restarted({}, { registry })).toEqual([]);
  });

  it("of users restart nothing: the files are read again", async () => {
    const users = (password: string) => ({
      registry: { ephemeralPushes: true, auth: { htpasswd: { enabled: true, username: "ci", password } } },
    });
    expect(await restarted(users("one"), users("two"))).toEqual([]);
  });
});
