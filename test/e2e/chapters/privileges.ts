import { expect, it } from "vitest";
import type { Scene } from "../scene.ts";

interface RunningPod {
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly hostNetwork?: boolean;
    readonly volumes?: readonly { readonly hostPath?: object }[];
    readonly containers: readonly { readonly image: string }[];
  };
  readonly status: { readonly conditions: readonly { readonly type: string; readonly status: string }[] };
}

export function privileges(scene: () => Scene): void {
  it("all components are Ready from our one image, and only the proxy touches the node", async () => {
    const { stage, release } = scene();
    const { items } = JSON.parse(
      await stage.cluster.kubectl(["-n", release.namespace, "get", "pods", "-o", "json"]),
    ) as {
      items: RunningPod[];
    };
    const components = items
      .map(({ metadata }) => metadata.labels["app.kubernetes.io/component"] ?? "")
      .toSorted((a, b) => a.localeCompare(b));
    expect(components).toEqual(["controllers", "controllers", "proxy", "registry", "webhook", "webhook"]);
    for (const { metadata, spec, status } of items) {
      expect(status.conditions.find(({ type }) => type === "Ready")?.status, metadata.name).toBe("True");
      expect(spec.containers.map(({ image }) => image)).toEqual(["cache-registry.local/cache-registry:dev"]);
      const isProxy = metadata.labels["app.kubernetes.io/component"] === "proxy";
      expect(spec.hostNetwork ?? false, metadata.name).toBe(isProxy);
      expect(
        (spec.volumes ?? []).filter(({ hostPath }) => hostPath),
        metadata.name,
      ).toEqual([]);
    }
  });

  it("the restricted Pod Security Standard would refuse nothing but the proxy's host network", async () => {
    const { stage, release } = scene();
    const label = "pod-security.kubernetes.io/enforce=restricted";
    const command = ["label", "--dry-run=server", "--overwrite", "namespace", release.namespace, label];
    // The API server's warnings go to standard error: a shell-free way to read them is to ask for them as errors.
    const warned = await stage.cluster
      .kubectl([...command, "--warnings-as-errors"])
      .catch((error: Error) => error.message);
    const violations = warned
      .split("\n")
      .filter((line) => /Warning: .*:/.test(line) && !line.includes("existing pods"));
    expect(violations.length).toBeGreaterThan(0);
    expect(
      violations.every((line) => /proxy-\w+.*host namespaces/.test(line)),
      violations.join("\n"),
    ).toBe(true);
  });

  it("the controllers cannot read Secrets of other namespaces, the other components have no account at all", async () => {
    const { stage, release } = scene();
    const account = (name: string) => `--as=system:serviceaccount:${release.namespace}:cache-registry-${name}`;
    const allowed = async (name: string, ...question: string[]) =>
      (
        await stage.cluster
          .kubectl(["auth", "can-i", ...question, account(name)])
          .catch((error: Error) => error.message)
      ).includes("yes");
    expect(await allowed("controllers", "get", "secrets", "-n", "kube-system")).toBe(false);
    expect(await allowed("controllers", "list", "secrets", "-n", release.namespace)).toBe(false);
    expect(await allowed("controllers", "list", "pods", "--all-namespaces")).toBe(true);
    for (const name of ["registry", "webhook", "proxy"]) expect(await allowed(name, "list", "pods"), name).toBe(false);
  });
}
