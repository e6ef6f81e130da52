import { describe, expect, it } from "vitest";
import { recordedReferences, sourceReference, usedReferences } from "./pod-images.ts";

const ENDPOINT = "localhost:7439";
const NAMES = { endpoint: ENDPOINT, registries: new Set(["harbor:5000"]) };

describe("sourceReference", () => {
  it.each([
    ["nginx", "docker.io/library/nginx:latest"],
    ["localhost:7439/docker.io/library/nginx", "docker.io/library/nginx:latest"],
    ["localhost:7439/harbor.local_5000/team/app:1", "harbor.local:5000/team/app:1"],
    ["harbor.local:5000/team/app:1", "harbor.local:5000/team/app:1"],
    [`localhost:7439/ghcr.io/a/b@sha256:${"0".repeat(64)}`, `ghcr.io/a/b@sha256:${"0".repeat(64)}`],
    ["localhost:7439/harbor_5000/team/app:1", "harbor:5000/team/app:1"],
    ["team:5000/app", "team:5000/app:latest"],
    ["index.docker.io/nginx:1", "docker.io/library/nginx:1"],
  ])("%s is %s", (image, reference) => {
    expect(sourceReference(image, NAMES)).toBe(reference);
  });

  it.each([
    "localhost:7439/team/app:1",
    "localhost:7439/team_5000/app:1",
    "Not Valid",
    "nginx:",
    "localhost:7439/",
  ])("%s is nothing to record", (image) => {
    expect(sourceReference(image, NAMES)).toBeUndefined();
  });
});

const cached = (image: string): { name: string; image: string } => ({ name: image, image: `${ENDPOINT}/${image}` });

const spec = {
  containers: [cached("docker.io/library/nginx:1"), { name: "sidecar", image: "quay.io/side/car:2" }],
  initContainers: [cached("docker.io/library/busybox")],
  ephemeralContainers: [cached("ghcr.io/debug/tools:3"), { name: "none" }],
  volumes: [
    { name: "model", image: { reference: `${ENDPOINT}/ghcr.io/models/small:4` } },
    { name: "tmp" },
    { name: "empty", image: {} },
  ],
};

describe("usedReferences", () => {
  it("sees every container kind and image volumes, rewritten or not, each once", () => {
    const twice = { ...spec, containers: [...spec.containers, { name: "again", image: "nginx:1" }] };
    expect(usedReferences(twice, NAMES)).toEqual([
      "docker.io/library/busybox:latest",
      "docker.io/library/nginx:1",
      "quay.io/side/car:2",
      "ghcr.io/debug/tools:3",
      "ghcr.io/models/small:4",
    ]);
  });

  it("survives a pod without a spec", () => {
    expect(usedReferences(undefined, NAMES)).toEqual([]);
  });
});

describe("recordedReferences", () => {
  it("records in rewrite mode what is below the endpoint, also for pods with pull secrets", () => {
    const options = { mode: "rewrite", names: NAMES, shared: false } as const;
    const secret = { ...spec, imagePullSecrets: [{ name: "pull" }] };
    const all = recordedReferences(spec, options);
    expect(all).toHaveLength(4);
    expect(all).not.toContain("quay.io/side/car:2");
    expect(recordedReferences(secret, options)).toEqual(all);
  });

  it("records in mirror mode all, but nothing of pods with pull secrets unless they are shared", () => {
    const options = { mode: "mirror", names: NAMES, shared: false } as const;
    expect(recordedReferences(spec, options)).toContain("quay.io/side/car:2");
    expect(recordedReferences({ ...spec, imagePullSecrets: [] }, options)).toHaveLength(5);
    const secret = { ...spec, imagePullSecrets: [{ name: "pull" }] };
    expect(recordedReferences(secret, options)).toEqual([]);
    expect(recordedReferences(secret, { ...options, shared: true })).toHaveLength(5);
  });
});
