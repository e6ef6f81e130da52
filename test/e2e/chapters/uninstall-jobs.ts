import { expect, it } from "vitest";
import { container, waitUntil } from "../../../hack/stage/objects.ts";
import { eventually } from "../../support/eventually.ts";
import type { Scene } from "../scene.ts";

function job(name: string, image: string): object {
  const spec = { restartPolicy: "Never", terminationGracePeriodSeconds: 1, containers: [container("main", image)] };
  return { apiVersion: "batch/v1", kind: "Job", metadata: { name }, spec: { template: { spec } } };
}

/** Comes last: nothing is left of the release. */
export function uninstallWithJobs(scene: () => Scene): void {
  const kubectl = (...args: string[]) => scene().stage.cluster.kubectl(args);

  it("a Job that runs is not ended: the uninstallation ends, names it, and is done again when it is gone", async () => {
    const { stage } = scene();
    await scene().install({ values: { uninstall: { evictPods: true, timeout: "10s" } } });
    await stage.publish({ repository: "library/backup", tag: "1" });
    await scene().apply(job("backup", "backup:1"));
    const running = "jsonpath={.items[?(@.status.phase=='Running')].spec.containers[0].image}";
    const imageOf = () => kubectl("get", "pods", "-l", "job-name=backup", "-o", running);
    const image = await waitUntil("the Job's pod to run", async () => (await imageOf()) || undefined);
    expect(image).toBe("localhost:7439/docker.io/library/backup:1");

    const failure: unknown = await scene()
      .release.uninstall()
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Error);
    // The Job of Helm's hook would otherwise try three times, each as long.
    const { name, namespace } = scene().release;
    const hook = `job/${name}-uninstall-pre-delete`;
    const verdict = "jsonpath={.status.failed} {.status.conditions[?(@.type=='Failed')].reason}";
    await eventually(async () => {
      expect(await kubectl("-n", namespace, "get", hook, "-o", verdict)).toBe("1 PodFailurePolicy");
    }, 30_000);
    const { stdout = "", stderr = "" } = failure as { stdout?: string; stderr?: string };
    expect(stdout + stderr).toMatch(/default\/backup-\w+: Job backup is let finish/);
    expect(await imageOf()).toBe(image);

    await kubectl("delete", "job", "backup", "--wait=true");
    await scene().release.uninstall();
    const kinds = "daemonsets,deployments,jobs,services";
    expect(await kubectl("-n", namespace, "get", kinds, "-o", "name")).toBe("");
  });
}
