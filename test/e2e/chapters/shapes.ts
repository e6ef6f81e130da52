import { expect, it } from "vitest";
import { container, pod, waitUntil } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";

const CACHED = "localhost:7439/docker.io/library";

/** Pods with more than one container, started for real: every image of theirs comes through the cache. */
export function shapes(scene: () => Scene): void {
  it("runs init containers, one of which reads a file of an image volume", async () => {
    const { stage } = scene();
    for (const name of ["prepare", "reader", "content"])
      await stage.publish({ repository: `library/${name}`, tag: "1" });
    const read = (name: string, file: string, extra: object = {}) =>
      container(name, `${name}:1`, { args: ["read", file], ...extra });
    const volumeMounts = [{ name: "content", mountPath: "/content" }];
    const spec = {
      initContainers: [read("prepare", "/seed"), read("reader", "/content/seed", { volumeMounts })],
      containers: [container("main", "reader:1")],
      volumes: [{ name: "content", image: { reference: "content:1", pullPolicy: "IfNotPresent" } }],
    };
    await scene().apply(pod("shapes", "ignored", { spec }));
    await scene().running("shapes");
    const { spec: admitted } = await scene().pod("shapes");
    const images = [...(admitted.initContainers ?? []), ...admitted.containers].map(({ image }) => image);
    expect(images).toEqual([`${CACHED}/prepare:1`, `${CACHED}/reader:1`, `${CACHED}/reader:1`]);
    expect(admitted.volumes?.find(({ name }) => name === "content")?.image?.reference).toBe(`${CACHED}/content:1`);
    const logs = (name: string) => stage.cluster.kubectl(["logs", "shapes", "-c", name]);
    expect([await logs("prepare"), await logs("reader")]).toEqual(["library/prepare:1", "library/content:1"]);
    for (const name of ["prepare", "reader", "content"]) await scene().ready(`docker.io/library/${name}:1`);
    await scene().deletePod("shapes");
  });

  it("runs the container that kubectl debug adds, from an image that the pod did not have", async () => {
    const { stage } = scene();
    for (const name of ["patient", "doctor"]) await stage.publish({ repository: `library/${name}`, tag: "1" });
    await scene().apply(pod("patient", "patient:1"));
    await scene().running("patient");
    const debug = ["debug", "patient", "--image=doctor:1", "--container=doctor", "--profile=restricted"];
    await stage.cluster.kubectl([...debug, "--", "/probe", "sleep", "300"]);
    await waitUntil("the ephemeral container to run", async () => {
      const { status } = await scene().pod("patient");
      return status.ephemeralContainerStatuses?.some(({ state }) => state.running) ? true : undefined;
    });
    expect((await scene().pod("patient")).spec.ephemeralContainers?.[0]?.image).toBe(`${CACHED}/doctor:1`);
    await scene().ready("docker.io/library/doctor:1");
    await scene().deletePod("patient");
  });
}
