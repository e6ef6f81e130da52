import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { ControllersConfig } from "../../packages/controllers/src/config.ts";
import { ProxyConfig } from "../../packages/proxy/src/config.ts";
import { RegistryConfig } from "../../packages/registry/src/config.ts";
import { loadConfig } from "../../packages/runtime/src/config.ts";
import { WebhookConfig } from "../../packages/webhook/src/config.ts";
import { CHART, render } from "./helm.ts";
import { COMPONENTS, type Manifests } from "./manifests.ts";

const FOLDER = join(CHART, "examples");
const FILES = readdirSync(FOLDER);
const SCHEMAS = {
  registry: RegistryConfig,
  webhook: WebhookConfig,
  controllers: ControllersConfig,
  proxy: ProxyConfig,
};

function valuesOf(file: string): Record<string, unknown> {
  return parse(readFileSync(join(FOLDER, file), "utf8")) as Record<string, unknown>;
}

function example(name: string): Promise<Manifests> {
  return render({ values: valuesOf(`${name}.yaml`) });
}

describe("the example values", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "creg-examples-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("are those that the README names", () => {
    const readme = readFileSync(join(CHART, "README.md"), "utf8");
    const named = [...readme.matchAll(/\(examples\/([a-z-]+\.yaml)\)/g)].map(([, file = ""]) => file);
    expect(named.toSorted()).toEqual(FILES.toSorted());
  });

  // rendering alone already checks each object against its schema
  it.each(FILES)("%s give every process a configuration that it accepts", async (file) => {
    const manifests = await example(basename(file, ".yaml"));
    for (const component of COMPONENTS) {
      const config = join(folder, "config.yaml");
      writeFileSync(config, stringify(manifests.config(component)));
      const loaded = loadConfig({ schema: SCHEMAS[component], file: config, env: {} });
      expect(loaded, component).toHaveProperty("management");
    }
  });

  it("minimal has nothing that lasts", async () => {
    const manifests = await example("minimal");
    expect(manifests.ofKind("PersistentVolumeClaim")).toEqual([]);
    expect(manifests.pod("registry").volumes).toContainEqual({ name: "data", emptyDir: { sizeLimit: "5Gi" } });
  });

  it("edge asks for little: one of each, on one node", async () => {
    const manifests = await example("edge");
    for (const component of ["registry", "webhook", "controllers"] as const) {
      expect(manifests.workload(component).spec.replicas, component).toBe(1);
    }
    expect(manifests.ofKind("PodDisruptionBudget")).toEqual([]);
    expect(manifests.config("registry").upstreams).toMatchObject([{ registry: "docker.io", tagTtl: "1d" }]);
  });

  it("high-availability has no part that is there once", async () => {
    const manifests = await example("high-availability");
    for (const component of ["registry", "webhook", "controllers"] as const) {
      expect(manifests.workload(component).spec.replicas, component).toBe(3);
    }
    expect(manifests.ofKind("PodDisruptionBudget")).toHaveLength(3);
    expect(manifests.config("registry").storage).toMatchObject({
      blobs: { driver: "s3", redirect: "presigned" },
      metadata: { driver: "postgres" },
    });
  });

  it("amazon-eks has a role and no keys", async () => {
    const manifests = await example("amazon-eks");
    const pod = manifests.pod("registry");
    const account = manifests.ofKind("ServiceAccount").find(({ metadata }) => metadata.name === pod.serviceAccountName);
    const role = { "eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/cache-registry" };
    expect(account?.metadata.annotations).toEqual(role);
    const { storage, upstreams } = manifests.config("registry");
    expect(storage).toMatchObject({ blobs: { driver: "s3" } });
    expect(JSON.stringify(storage)).not.toMatch(/accessKey|secret/i);
    expect(upstreams).toContainEqual(expect.objectContaining({ credentials: [{ provider: "ecr" }] }));
    // EKS mounts a token that the group of the pod may read.
    expect(pod).toMatchObject({ automountServiceAccountToken: false, securityContext: { fsGroup: 65532 } });
  });

  it("air-gapped asks no upstream, nor does its test", async () => {
    const manifests = await example("air-gapped");
    expect(manifests.config("registry")).toMatchObject({ airGapped: true, upstreamPolicy: "listed" });
    const [test] = manifests.ofKind<Parameters<typeof imageOf>[0]>("Pod");
    expect(test && imageOf(test)).toBe("");
  });
});

type Pod = Manifests["all"][number] & {
  readonly spec: { readonly containers: readonly [{ readonly env: readonly { name: string; value?: string }[] }] };
};

function imageOf({ spec }: Pod): string | undefined {
  return spec.containers[0].env.find(({ name }) => name === "IMAGE")?.value;
}
