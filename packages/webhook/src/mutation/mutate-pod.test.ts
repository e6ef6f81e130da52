import { describe, expect, it } from "vitest";
import { UNGATED } from "../cluster-state/cluster-view.ts";
import type { Pod } from "../pod.ts";
import { controller, type PodParts, testPod } from "../testing/pods.ts";
import { testRules } from "../testing/rules.ts";
import { mutatePod } from "./mutate-pod.ts";

const ORIGINALS = "cache-registry.enix.io/original-images";
const SKIPPED = "cache-registry.enix.io/skipped-images";
const MANAGED = "cache-registry.enix.io/managed";
const CACHED_NGINX = "localhost:7439/docker.io/library/nginx";

function mutate(parts: PodParts, keys = {}): Pod {
  return mutatePod({ pod: testPod(parts), namespace: "shop", scope: "pod", rules: testRules(keys), cluster: UNGATED })
    .pod;
}

function noteOf(pod: Pod, annotation: string): unknown {
  return JSON.parse(pod.metadata.annotations?.[annotation] ?? "null");
}

const container = (name: string, image: string, more = {}) => ({ name, image, ...more });

describe("mutatePod", () => {
  it("rewrites containers, init containers and image volumes, and says what was written", () => {
    const pod = mutate({
      spec: {
        initContainers: [
          container("init", "busybox"),
          container("sidecar", "ghcr.io/a/b:1", { restartPolicy: "Always" }),
        ],
        containers: [container("web", "nginx:1.27", { env: [{ name: "A", value: "b" }] })],
        volumes: [
          { name: "data", emptyDir: {} },
          { name: "model", image: { reference: "quay.io/models/x:1", pullPolicy: "IfNotPresent" } },
        ],
      },
    });
    expect(pod.spec).toEqual({
      initContainers: [
        container("init", "localhost:7439/docker.io/library/busybox"),
        container("sidecar", "localhost:7439/ghcr.io/a/b:1", { restartPolicy: "Always" }),
      ],
      containers: [container("web", `${CACHED_NGINX}:1.27`, { env: [{ name: "A", value: "b" }] })],
      volumes: [
        { name: "data", emptyDir: {} },
        { name: "model", image: { reference: "localhost:7439/quay.io/models/x:1", pullPolicy: "IfNotPresent" } },
      ],
    });
    expect(pod.metadata.labels).toEqual({ [MANAGED]: "true" });
    expect(noteOf(pod, ORIGINALS)).toEqual({
      init: "busybox",
      sidecar: "ghcr.io/a/b:1",
      web: "nginx:1.27",
      "volume/model": "quay.io/models/x:1",
    });
    expect(pod.metadata.annotations).not.toHaveProperty([SKIPPED]);
  });

  it("keeps labels and annotations that are there, and leaves the input alone", () => {
    const input = testPod({ metadata: { labels: { app: "web" }, annotations: { note: "x" } } });
    const copy = structuredClone(input);
    const { pod } = mutatePod({ pod: input, namespace: "shop", scope: "pod", rules: testRules(), cluster: UNGATED });
    expect(input).toEqual(copy);
    expect(pod.metadata.labels).toEqual({ app: "web", [MANAGED]: "true" });
    expect(pod.metadata.annotations).toEqual({ note: "x", [ORIGINALS]: '{"web":"nginx:1.27"}' });
  });

  it("says why it leaves an image, next to those it rewrites", () => {
    const pod = mutate({
      spec: {
        containers: [
          container("web", "nginx"),
          container("bad", "NOT VALID"),
          container("local", "a/b", { imagePullPolicy: "Never" }),
        ],
        volumes: [{ name: "v", image: { reference: "harbor:5000/a" } }],
      },
    });
    expect(pod.spec.containers.map(({ image }) => image)).toEqual([CACHED_NGINX, "NOT VALID", "a/b"]);
    expect(noteOf(pod, ORIGINALS)).toEqual({ web: "nginx" });
    expect(noteOf(pod, SKIPPED)).toEqual({ bad: "invalid", local: "never", "volume/v": "invalid" });
  });

  it("has nothing to say of containers and volumes without an image: the API server refuses or allows them", () => {
    const input = testPod({
      spec: {
        containers: [{ name: "none" }, container("empty", "")],
        volumes: [
          { name: "none", image: {} },
          { name: "empty", image: { reference: "" } },
        ],
      },
    });
    const mutation = mutatePod({ pod: input, namespace: "shop", scope: "pod", rules: testRules(), cluster: UNGATED });
    expect(mutation.pod).toBe(input);
    expect(mutation.verdicts).toEqual([]);
  });

  it("leaves every image of a pod that an operator owns, without the label", () => {
    const pod = mutate({
      metadata: { ownerReferences: [controller("postgresql.cnpg.io/v1", "Cluster")] },
      spec: { initContainers: [container("bootstrap", "a/b")] },
    });
    expect(noteOf(pod, SKIPPED)).toEqual({ bootstrap: "owner", web: "owner" });
    expect(pod.metadata.labels).toBeUndefined();
    expect(pod.metadata.annotations).not.toHaveProperty([ORIGINALS]);
  });

  it("only reports in a dry run", () => {
    const pod = mutate({ spec: { containers: [container("web", "nginx"), container("bad", "X")] } }, { dryRun: true });
    expect(pod.spec).toEqual({ containers: [container("web", "nginx"), container("bad", "X")] });
    expect(pod.metadata.labels).toBeUndefined();
    expect(pod.metadata.annotations).toEqual({ [SKIPPED]: '{"web":"dry-run","bad":"invalid"}' });
  });

  it("has nothing to say of images below the endpoint, even in pods it would leave", () => {
    const parts = {
      metadata: { ownerReferences: [controller("example.com/v1", "X")] },
      spec: { containers: [container("web", CACHED_NGINX), container("own", "localhost:7439/team/app:1")] },
    };
    const input = testPod(parts);
    expect(mutatePod({ pod: input, namespace: "shop", scope: "pod", rules: testRules(), cluster: UNGATED }).pod).toBe(
      input,
    );
  });

  it("notes a sidecar that another webhook added after the first pass, and keeps the first note", () => {
    const first = mutate({});
    const injected: Pod = {
      ...first,
      spec: { ...first.spec, containers: [...first.spec.containers, container("proxy", "istio/proxyv2")] },
    };
    const { pod } = mutatePod({ pod: injected, namespace: "shop", scope: "pod", rules: testRules(), cluster: UNGATED });
    expect(noteOf(pod, ORIGINALS)).toEqual({ web: "nginx:1.27", proxy: "istio/proxyv2" });
    expect(pod.spec.containers[1]?.image).toBe("localhost:7439/docker.io/istio/proxyv2");
  });

  it("leaves a gateway's placeholder to Istio's injector, which comes later, and rewrites what that puts there", () => {
    const first = mutate({ spec: { containers: [container("istio-proxy", "auto")] } });
    expect(first.spec.containers).toEqual([container("istio-proxy", "auto")]);
    const injected: Pod = {
      ...first,
      spec: { ...first.spec, containers: [container("istio-proxy", "istio/proxyv2")] },
    };
    const { pod } = mutatePod({ pod: injected, namespace: "shop", scope: "pod", rules: testRules(), cluster: UNGATED });
    expect(pod.spec.containers[0]?.image).toBe("localhost:7439/docker.io/istio/proxyv2");
    expect(pod.metadata.annotations).toEqual({ [ORIGINALS]: '{"istio-proxy":"istio/proxyv2"}' });
  });

  it.each(["", "no json", "[]", "null", "5", '{"web":5}', '"web"'])("takes the place of a forged note: %j", (note) => {
    const pod = mutate({ metadata: { annotations: { [ORIGINALS]: note, [SKIPPED]: note } } });
    expect(pod.metadata.annotations).toEqual({ [ORIGINALS]: '{"web":"nginx:1.27"}' });
  });

  it("drops notes about containers that are gone, as in a copied pod", () => {
    const stale = { [ORIGINALS]: '{"web":"nginx:1","gone":"a"}', [SKIPPED]: '{"gone":"private"}' };
    const pod = mutate({
      metadata: { annotations: stale },
      spec: { containers: [container("web", `${CACHED_NGINX}:1`)] },
    });
    expect(pod.metadata.annotations).toEqual({ [ORIGINALS]: '{"web":"nginx:1"}' });
  });

  it("leaves a note alone that says the same in other words", () => {
    const annotations = { [SKIPPED]: '{ "b": "invalid",\n "a": "invalid" }' };
    const input = testPod({
      metadata: { annotations },
      spec: { containers: [container("a", "X"), container("b", "Y")] },
    });
    expect(mutatePod({ pod: input, namespace: "shop", scope: "pod", rules: testRules(), cluster: UNGATED }).pod).toBe(
      input,
    );
  });

  it("leaves out its notes rather than make the annotations too large for the API server", () => {
    const room = 256 * 1024 - ORIGINALS.length - '{"web":"nginx:1.27"}'.length;
    const bulky = (bytes: number) => ({ metadata: { annotations: { x: "y".repeat(bytes - 1) } } });
    expect(noteOf(mutate(bulky(room)), ORIGINALS)).toEqual({ web: "nginx:1.27" });
    const pod = mutate(bulky(room + 1));
    expect(Object.keys(pod.metadata.annotations ?? {})).toEqual(["x"]);
    expect(pod.spec.containers[0]?.image).toBe(`${CACHED_NGINX}:1.27`);
    const again = mutatePod({ pod, namespace: "shop", scope: "pod", rules: testRules(), cluster: UNGATED });
    expect(again.pod).toBe(pod);
  });
});

describe("mutatePod under pods/ephemeralcontainers", () => {
  const running = testPod({ spec: { ephemeralContainers: [container("old", "busybox")] } });
  const debugged = testPod({
    spec: {
      ephemeralContainers: [
        container("old", "busybox"),
        container("debug", "alpine:3", { targetContainerName: "web" }),
      ],
    },
  });

  it("changes the image of the new one only: no other image, no label, no annotation", () => {
    const input = { pod: debugged, previous: running, namespace: "shop", rules: testRules(), cluster: UNGATED };
    const { pod, verdicts } = mutatePod({ ...input, scope: "ephemeralContainers" });
    expect(pod).toEqual({
      ...debugged,
      spec: {
        ...debugged.spec,
        ephemeralContainers: [
          container("old", "busybox"),
          container("debug", "localhost:7439/docker.io/library/alpine:3", { targetContainerName: "web" }),
        ],
      },
    });
    expect(verdicts.map(({ key }) => key)).toEqual(["debug"]);
  });

  it("leaves it with a reason where the pod's images are left", () => {
    const secrets = { imagePullSecrets: [{ name: "a" }], ephemeralContainers: [container("debug", "alpine")] };
    const input = {
      pod: testPod({ spec: secrets }),
      previous: testPod(),
      namespace: "shop",
      rules: testRules(),
      cluster: UNGATED,
    };
    const { pod, verdicts } = mutatePod({ ...input, scope: "ephemeralContainers" });
    expect(pod).toBe(input.pod);
    expect(verdicts).toMatchObject([{ key: "debug", result: "skipped", reason: "private" }]);
  });
});
