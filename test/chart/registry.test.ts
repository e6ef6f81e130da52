import { describe, expect, it } from "vitest";
import { refusal, render } from "./helm.ts";
import type { Manifest, Manifests, Service } from "./manifests.ts";

interface Claim extends Manifest {
  readonly spec: {
    readonly accessModes: readonly string[];
    readonly storageClassName?: string;
    readonly resources: { readonly requests: { readonly storage: string } };
  };
}

function volume(manifests: Manifests, mountPath: string) {
  const mount = manifests.container("registry").volumeMounts.find((one) => one.mountPath === mountPath);
  return manifests.pod("registry").volumes.find(({ name }) => name === mount?.name);
}

const DATA = "/var/lib/cache-registry";

describe("the registry", () => {
  it("is one process at a time behind a ClusterIP Service", async () => {
    const manifests = await render();
    const { spec } = manifests.workload("registry");
    expect([spec.replicas, spec.strategy]).toEqual([1, { type: "Recreate" }]);
    const service = manifests.only<Service>("Service", "registry");
    expect(service.metadata.name).toBe("cache-registry-registry");
    expect(service.spec.type).toBe("ClusterIP");
    expect(service.spec.ports.map(({ port, targetPort }) => [port, targetPort])).toEqual([
      [5000, 5000],
      [8081, 8081],
    ]);
    expect(manifests.container("registry").resources).toEqual({
      requests: { cpu: "100m", memory: "128Mi" },
      limits: { memory: "512Mi" },
    });
  });

  it("waits for the management token that the controllers make", async () => {
    const manifests = await render({ release: "r" });
    expect(volume(manifests, "/etc/cache-registry/management")?.secret).toEqual({
      secretName: "r-cache-registry-management-token",
      defaultMode: 0o440,
      items: [{ key: "token", path: "token" }],
    });
    const env = manifests.container("controllers").env;
    expect(env).toEqual([
      { name: "POD_NAMESPACE", valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
      { name: "DEPLOYMENT_NAME", value: "r-cache-registry-controllers" },
    ]);
    expect(manifests.workload("controllers").metadata.name).toBe("r-cache-registry-controllers");
  });
});

describe("the registry's storage", () => {
  it("is an emptyDir with a limit by default", async () => {
    const manifests = await render();
    expect(volume(manifests, DATA)).toEqual({ name: "data", emptyDir: { sizeLimit: "2Gi" } });
    expect(manifests.ofKind("PersistentVolumeClaim")).toEqual([]);
    const larger = await render({ values: { registry: { emptyDir: { sizeLimit: "20Gi" } } } });
    expect(volume(larger, DATA)?.emptyDir).toEqual({ sizeLimit: "20Gi" });
  });

  it("is a claim with persistence", async () => {
    const manifests = await render({ release: "r", values: { registry: { persistence: { enabled: true } } } });
    expect(volume(manifests, DATA)?.persistentVolumeClaim).toEqual({ claimName: "r-cache-registry-registry" });
    const claim = manifests.only<Claim>("PersistentVolumeClaim", "registry");
    expect(claim.metadata.name).toBe("r-cache-registry-registry");
    expect(claim.spec).toEqual({ accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "10Gi" } } });
  });

  it.each([
    ["fast", "fast"],
    ["-", ""],
  ])("takes class %j as %j, and size, access modes and annotations", async (storageClass, storageClassName) => {
    const persistence = {
      enabled: true,
      size: "5Gi",
      storageClass,
      accessModes: ["ReadWriteOncePod"],
      annotations: { "helm.sh/resource-policy": "keep" },
    };
    const claim = (await render({ values: { registry: { persistence } } })).only<Claim>("PersistentVolumeClaim");
    expect(claim.metadata.annotations).toEqual(persistence.annotations);
    expect(claim.spec).toEqual({
      accessModes: ["ReadWriteOncePod"],
      storageClassName,
      resources: { requests: { storage: "5Gi" } },
    });
  });

  it("can be an existing claim", async () => {
    const manifests = await render({ values: { registry: { persistence: { enabled: true, existingClaim: "mine" } } } });
    expect(volume(manifests, DATA)?.persistentVolumeClaim).toEqual({ claimName: "mine" });
    expect(manifests.ofKind("PersistentVolumeClaim")).toEqual([]);
  });

  it("understands the misspelt registry.persistance, which wins over registry.persistence", async () => {
    const manifests = await render({ values: { registry: { persistance: { enabled: true, size: "7Gi" } } } });
    expect(volume(manifests, DATA)?.persistentVolumeClaim).toBeDefined();
    expect(manifests.only<Claim>("PersistentVolumeClaim").spec.resources.requests.storage).toBe("7Gi");
    const off = await render({
      values: { registry: { persistence: { enabled: true }, persistance: { enabled: false } } },
    });
    expect(volume(off, DATA)?.emptyDir).toBeDefined();
  });
});

describe("the registry's quota", () => {
  async function maxSize(registry: object): Promise<unknown> {
    const { storage } = (await render({ values: { registry } })).config("registry");
    return (storage as { maxSize?: unknown }).maxSize;
  }

  it.each([
    ["2Gi", 0.8 * 2 ** 31],
    ["1.5Gi", 1.2 * 2 ** 30],
    ["500Mi", 400 * 2 ** 20],
    ["3G", 2.4e9],
    ["0.5T", 4e11],
    ["64k", 51_200],
    ["1048577", 838_861],
    // More than the registry takes.
    ["16Ei", Number.MAX_SAFE_INTEGER],
  ])("is 80 % of an emptyDir of %s: above that the kubelet evicts the pod", async (sizeLimit, expected) => {
    expect(await maxSize({ emptyDir: { sizeLimit } })).toBe(Math.floor(expected));
  });

  it("is 80 % of the claim, also with the misspelt name", async () => {
    expect(await maxSize({ persistence: { enabled: true } })).toBe(8 * 2 ** 30);
    expect(await maxSize({ persistance: { enabled: true, size: "5Gi" } })).toBe(4 * 2 ** 30);
  });

  it.each([
    ["an existing claim", { persistence: { enabled: true, existingClaim: "mine" } }],
    ["an emptyDir without a limit", { emptyDir: { sizeLimit: "0" } }],
  ])("is left to the registry with %s: nobody knows the size here", async (_, registry) => {
    expect(await maxSize(registry)).toBeUndefined();
  });

  it("can be said, also for an existing claim", async () => {
    expect(await maxSize({ storage: { maxSize: "1Gi" } })).toBe("1Gi");
    const persistence = { enabled: true, existingClaim: "mine" };
    expect(await maxSize({ storage: { maxSize: "40000000000" }, persistence })).toBe("40000000000");
  });

  it.each(["many", "0", "0.0Gi", "5Pi"])("cannot be %j, which the registry would not start with", async (value) => {
    expect(await refusal({ values: { registry: { storage: { maxSize: value } } } })).toContain("maxSize");
  });
});

describe("pushing", () => {
  const htpasswd = { enabled: true, existingSecret: "users" };

  it("is nobody's right by default", async () => {
    const manifests = await render();
    expect(manifests.config("registry").auth).toEqual({ anonymousPull: true, anonymousPush: false });
    expect(volume(manifests, "/etc/cache-registry/auth")).toBeUndefined();
  });

  it("is the right of users in an existing Secret, where what they push lasts", async () => {
    const manifests = await render({ values: { registry: { auth: { htpasswd }, persistence: { enabled: true } } } });
    expect(volume(manifests, "/etc/cache-registry/auth")?.secret).toMatchObject({ secretName: "users" });
    expect(manifests.config("registry").auth).toMatchObject({ htpasswdFile: "/etc/cache-registry/auth/htpasswd" });
  });

  it("is refused on an emptyDir unless the loss is accepted", async () => {
    const message = await refusal({ values: { registry: { auth: { htpasswd } } } });
    expect(message).toContain("registry.persistence.enabled");
    expect(message).toContain("registry.ephemeralPushes");
    const accepted = await render({ values: { registry: { auth: { htpasswd }, ephemeralPushes: true } } });
    expect(volume(accepted, "/etc/cache-registry/auth")?.secret?.secretName).toBe("users");
  });

  it("needs the Secret's name", async () => {
    const values = { registry: { auth: { htpasswd: { enabled: true } }, persistence: { enabled: true } } };
    expect(await refusal({ values })).toContain("registry.auth.htpasswd.existingSecret");
  });
});
