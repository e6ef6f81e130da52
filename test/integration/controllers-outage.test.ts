import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { createManagementClient } from "../../packages/controllers/src/registry/management-client.ts";
import { TERM_TIMING } from "../../packages/controllers/src/term.ts";
import { CACHED_IMAGES, PODS } from "../../packages/kube/src/resource.ts";
import { cachedPod } from "../support/controllers.ts";
import { useBench } from "../support/controllers-bench.ts";
import { eventually } from "../support/eventually.ts";
import { startVanishingRelay } from "../support/vanishing-relay.ts";

const bench = useBench();
const images = Array.from({ length: 12 }, (_, index) => `docker.io/library/app:${index}`);

/** All that was recorded is Ready, and really in the registry. */
async function allWarm(expected: readonly string[]): Promise<void> {
  const { items } = await bench.client.list(CACHED_IMAGES);
  const ready = items.filter(({ status }) => status?.phase === "Ready").map(({ spec }) => spec.sourceImage);
  expect(ready.sort()).toEqual([...expected].sort());
  expect([...bench.registry.images.keys()].sort()).toEqual([...expected].sort());
}

it("fills a registry that vanished without a word and came back empty, half a minute later, at the real pace", async () => {
  const relay = await startVanishingRelay(bench.registry.url);
  const registry = createManagementClient({ url: relay.url, token: async () => undefined });
  try {
    const { term } = bench.run({ registry, timing: TERM_TIMING });
    await bench.client.create(PODS, cachedPod("before", images));
    await eventually(() => allWarm(images));

    relay.vanish();
    await bench.client.create(PODS, cachedPod("meanwhile", ["ghcr.io/team/app:1"]));
    await eventually(() => expect(term.warning()).toMatch(/registry not reachable: no answer within/));
    await sleep(5_000);
    bench.registry.restart({ keep: false });
    relay.comeBack();
    await bench.client.create(PODS, cachedPod("after", ["ghcr.io/team/app:2"]));
    await eventually(() => allWarm([...images, "ghcr.io/team/app:1", "ghcr.io/team/app:2"]));
    expect(term.warning()).toBeUndefined();
  } finally {
    registry.close();
    await relay.close();
  }
});
