/** Rule: uninstalling leaves no pod that cannot start. What stays, what is printed, and the hooks of `uninstall.evictPods`. */
import { ENDPOINT_ANNOTATION } from "@cache-registry/controllers/uninstall/leftovers";
import { EXIT_REMAINING } from "@cache-registry/controllers/uninstall/restore-command";
import { describe, expect, it } from "vitest";
import { OPTIONS } from "../../packages/cli/src/options.ts";
import { CHART, helm, render } from "./helm.ts";
import type { Manifest, PodSpec, Role } from "./manifests.ts";

const EVICTING = { uninstall: { evictPods: true } };
type HookJob = Manifest & {
  readonly spec: { readonly template: { readonly spec: PodSpec }; podFailurePolicy: object };
};
const kept = ({ metadata }: Manifest) => metadata.annotations?.["helm.sh/resource-policy"] === "keep";
const hookOf = ({ metadata }: Manifest) => metadata.annotations?.["helm.sh/hook"];
const named = ({ kind, metadata }: Manifest) => `${kind}/${metadata.name}`;

async function notes(...more: string[]): Promise<string> {
  const args = [
    "install",
    "r",
    CHART,
    "--namespace",
    "n",
    "--dry-run=client",
    "--set",
    "certificates.mode=certManager",
  ];
  const { output, errors } = await helm([...args, ...more]);
  expect(errors).toBe("");
  return output.slice(output.indexOf("NOTES:"));
}

function optionsOf(command: string, args: readonly string[]): string[] {
  const known = Object.keys(OPTIONS[command] ?? {});
  return args.filter((arg) => arg.startsWith("--") && !known.includes(arg.slice(2)));
}

describe("by default", () => {
  it("the proxy, what it needs, and the records stay", async () => {
    const { all } = await render({ release: "r" });
    expect(all.filter(kept).map(named).sort()).toEqual([
      "ConfigMap/r-cache-registry-proxy",
      "CustomResourceDefinition/cachedimages.cache-registry.enix.io",
      "DaemonSet/r-cache-registry-proxy",
      "Service/r-cache-registry-registry",
      "ServiceAccount/r-cache-registry-proxy",
    ]);
    expect(all.map(hookOf).filter((hook) => hook !== undefined && hook !== "test")).toEqual([]);
  });

  it("all that stays is found by the labels that the printed command looks for", async () => {
    const { all } = await render({ release: "r" });
    for (const { metadata } of all.filter((one) => kept(one) && one.kind !== "CustomResourceDefinition")) {
      expect(metadata.labels).toMatchObject({
        "app.kubernetes.io/name": "cache-registry",
        "app.kubernetes.io/instance": "r",
      });
    }
    const certificates = all.filter(({ kind }) => kind === "Certificate") as (Manifest & {
      spec: { secretTemplate: { labels: Record<string, string> } };
    })[];
    expect(certificates.length).toBeGreaterThan(1);
    for (const { spec } of certificates) {
      expect(spec.secretTemplate.labels).toMatchObject({ "app.kubernetes.io/instance": "r" });
    }
  });

  it("the notes say how to see it work, and the one command that finishes", async () => {
    const text = await notes("--set", "upstreams[0].registry=harbor:5000");
    expect(text).toContain("kubectl get cachedimages");
    expect(text).toContain("localhost:7439/docker.io/library/busybox");
    expect(text).toContain("registry.persistence is off");
    const [, command = ""] = /^ +npx cache-registry (.*)$/m.exec(text) ?? [];
    expect(command).toBe("restore --release r --namespace n --endpoint localhost:7439 --registry harbor:5000");
    expect(optionsOf("restore", command.split(" "))).toEqual([]);
  });
});

it("the webhook's configuration says where pods are led to, for whoever uninstalls another release", async () => {
  const endpointIn = async (mode: string) => {
    const { all } = await render({ values: { mode, endpoint: "localhost:7440" } });
    const configuration = all.find(({ kind }) => kind === "MutatingWebhookConfiguration");
    return configuration?.metadata.annotations?.[ENDPOINT_ANNOTATION];
  };
  expect([await endpointIn("rewrite"), await endpointIn("mirror")]).toEqual(["localhost:7440", undefined]);
});

describe("with uninstall.evictPods", () => {
  it("nothing stays, and the notes promise it", async () => {
    const { all } = await render({ values: EVICTING });
    expect(all.filter(kept)).toEqual([]);
    const text = await notes("--set", "uninstall.evictPods=true");
    expect(text).toContain("leaves nothing behind");
    expect(text).not.toContain("npx cache-registry restore");
  });

  it("a Job goes before the deletion and one behind it, each with an account that lives no longer", async () => {
    const { all } = await render({
      values: { ...EVICTING, upstreams: [{ registry: "harbor:5000" }] },
      release: "r",
      namespace: "n",
    });
    const hooks = all.filter(hookOf);
    for (const hook of ["pre-delete", "post-delete"]) {
      const mine = hooks.filter((one) => hookOf(one) === hook);
      const kinds = ["ClusterRole", "ClusterRoleBinding", "Job", "Role", "RoleBinding", "ServiceAccount"];
      expect(mine.map(({ kind }) => kind).sort()).toEqual(kinds);
      for (const one of mine) {
        expect(one.metadata.annotations?.["helm.sh/hook-delete-policy"]).toBe("before-hook-creation,hook-succeeded");
        // By this they are not among what the command itself removes.
        expect(one.metadata.labels["app.kubernetes.io/name"]).toBe("cache-registry-uninstall");
      }
      const job = mine.find(({ kind }) => kind === "Job") as Manifest & { spec: { template: { spec: PodSpec } } };
      const [container] = job.spec.template.spec.containers;
      const args = container?.args ?? [];
      expect(args.slice(0, 9)).toEqual([
        ...["restore", "--release", "r", "--namespace", "n", "--endpoint", "localhost:7439"],
        ...["--registry", "harbor:5000"],
      ]);
      expect(args.includes("--uninstalling")).toBe(hook === "pre-delete");
      expect(optionsOf("restore", args)).toEqual([]);
      expect(container?.securityContext).toMatchObject({
        readOnlyRootFilesystem: true,
        allowPrivilegeEscalation: false,
      });
    }
  });

  it("what is left when the time is over ends a Job at once: it says what, and does not wait as long again", async () => {
    const values = { uninstall: { evictPods: true, timeout: "90s" } };
    const jobs = (await render({ values })).ofKind<HookJob>("Job").filter(hookOf);
    expect(jobs).toHaveLength(2);
    for (const { spec } of jobs) {
      const [container] = spec.template.spec.containers;
      expect(container?.args.slice(-2)).toEqual(["--timeout", "90s"]);
      const onExitCodes = { containerName: container?.name, operator: "In", values: [EXIT_REMAINING] };
      expect(spec.podFailurePolicy).toEqual({ rules: [{ action: "FailJob", onExitCodes }] });
    }
  });

  it("the Jobs may read Secrets in the release's namespace alone, and change no other webhook or definition", async () => {
    const { all } = await render({ values: EVICTING, release: "r" });
    const roles = all.filter((one) => hookOf(one) && one.kind === "ClusterRole") as unknown as Role[];
    const rules = roles.flatMap((role) => role.rules);
    expect(rules.filter(({ resources }) => resources.includes("secrets"))).toEqual([]);
    const deleting = rules.filter(({ verbs }) => verbs.includes("delete"));
    expect(deleting.map(({ resourceNames }) => resourceNames)).toEqual(
      [0, 1].flatMap(() => [["r-cache-registry-webhook"], ["cachedimages.cache-registry.enix.io"]]),
    );
  });
});
