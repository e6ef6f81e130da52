import { expect, it } from "vitest";
import { waitUntil } from "../../../hack/stage/objects.ts";
import type { Scene } from "../scene.ts";

const TAINT = "cache-registry.enix.io/proxy-not-ready";

/** Needs `proxy.nodeTaint.enabled`. */
export function nodeTaint(scene: () => Scene): void {
  it("goes from a node whose proxy is ready, with an Event", async () => {
    const { kubectl, nodes } = scene().stage.cluster;
    const name = nodes.at(-1)?.name ?? "";
    await kubectl(["taint", "node", name, `${TAINT}=:NoSchedule`]);
    await waitUntil("the taint to go", async () => {
      const keys = await kubectl(["get", "node", name, "-o", "jsonpath={.spec.taints[*].key}"]);
      return keys.includes(TAINT) ? undefined : true;
    });
    const selector = `reason=ProxyReady,involvedObject.name=${name}`;
    const note = await waitUntil("the Event", async () => {
      const args = ["get", "events", "--field-selector", selector, "-o", "jsonpath={.items[*].message}"];
      return (await kubectl(args)) || undefined;
    });
    expect(note).toBe(`The node's proxy is ready: taint ${TAINT} removed.`);
  });
}
