import { describe, expect, it } from "vitest";
import { SHARED_NAMESPACE_RULES } from "../support/controllers-access.ts";
import { refusal, render } from "./helm.ts";
import type { Binding, Manifest, Role } from "./manifests.ts";

const share = { privateImages: { mode: "share", namespaces: ["shop", "bank"] } };
const NAME = "r-cache-registry-controllers-pull-secrets";

describe("private images", () => {
  it("are left alone by default, and no Secret of users can be read", async () => {
    const manifests = await render({ values: { privateImages: { namespaces: ["shop"] } } });
    for (const component of ["webhook", "controllers"] as const) {
      expect(manifests.config(component)).toMatchObject({ privateImages: { mode: "skip" } });
    }
    expect(manifests.ofKind<Role>("Role")).toHaveLength(1);
    expect(manifests.ofKind<Binding>("RoleBinding")).toHaveLength(1);
  });

  it("are shared by one value: webhook, controllers, and the right to read Secrets by name in those namespaces", async () => {
    const manifests = await render({ values: share, release: "r", namespace: "n" });
    for (const component of ["webhook", "controllers"] as const) {
      expect(manifests.config(component)).toMatchObject(share);
    }
    const roles = manifests.ofKind<Role>("Role").filter(({ metadata }) => metadata.name === NAME);
    const bindings = manifests.ofKind<Binding>("RoleBinding").filter(({ metadata }) => metadata.name === NAME);
    expect(roles.map(({ metadata }) => metadata.namespace)).toEqual(["shop", "bank"]);
    expect(bindings.map(({ metadata }) => metadata.namespace)).toEqual(["shop", "bank"]);
    for (const { rules } of roles) expect(rules).toEqual(SHARED_NAMESPACE_RULES);
    for (const { roleRef, subjects } of bindings) {
      expect(roleRef).toMatchObject({ kind: "Role", name: NAME });
      expect(subjects).toEqual([{ kind: "ServiceAccount", name: "r-cache-registry-controllers", namespace: "n" }]);
    }
  });

  it("go to the registry over HTTPS only", async () => {
    const manifests = await render({ values: share, release: "r" });
    expect(manifests.config("controllers")).toMatchObject({
      registry: { url: "https://r-cache-registry-registry:8081" },
    });
    expect(manifests.config("registry")).toMatchObject({ management: { tls: {} } });
    const off = { ...share, registry: { management: { tls: false } } };
    expect(await refusal({ values: off })).toContain("pull secrets never go over plain HTTP");
    const external = { managementUrl: "http://images.example.com:8081", tokenSecret: { name: "token" } };
    const elsewhere = { enabled: false, externalUrl: "https://images.example.com", external };
    expect(await refusal({ values: { ...share, registry: elsewhere } })).toContain("must begin with https://");
  });

  it("are shared nowhere unless it is said where", async () => {
    expect(await refusal({ values: { privateImages: { mode: "share" } } })).toContain("privateImages.namespaces");
    const wrong = { privateImages: { mode: "share", namespaces: ["*"] } };
    expect(await refusal({ values: wrong })).toContain("/privateImages/namespaces/0");
  });

  it("are lent to every replica of the registry, by addresses of their own", async () => {
    const storage = {
      metadata: { driver: "postgres", postgres: { existingSecret: "db" } },
      blobs: { driver: "s3", s3: { bucket: "images" } },
    };
    const registry = { replicas: 2, storage };
    const name = "r-cache-registry-registry-replicas";
    const manifests = await render({ values: { ...share, registry }, release: "r" });
    expect(manifests.config("controllers")).toMatchObject({ registry: { replicasHost: name } });
    const services = manifests.ofKind<Manifest & { spec: object }>("Service");
    expect(services.find(({ metadata }) => metadata.name === name)?.spec).toMatchObject({ clusterIP: "None" });
    for (const values of [share, { registry }]) {
      const others = (await render({ values, release: "r" })).ofKind("Service").map(({ metadata }) => metadata.name);
      expect(others).not.toContain(name);
    }
  });
});
