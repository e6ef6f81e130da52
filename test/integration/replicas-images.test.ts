import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { useReplicas } from "../support/replicas-scene.ts";
import { makeImage } from "../support/test-content.ts";
import { UPSTREAM_NAME } from "../support/upstream-registry.ts";

/* The management API behind one address: whichever replica answers, it knows what the others do. */

const scene = useReplicas({ count: 2, folder: "images" });

const url = (replica: number, name: string) =>
  `${scene.replicas.at(replica).registry.management}/api/v1/images/${encodeURIComponent(`${UPSTREAM_NAME}/${name}`)}`;
const stateAt = async (replica: number, name: string) =>
  ((await (await fetch(url(replica, name))).json()) as { state: string }).state;

it("an image that one replica warms is being pulled, also by the word of the other, until it is ready", async () => {
  await scene.upstream.api.pushImage("team/slow", "1", makeImage([3_000_000]));
  scene.upstream.proxy.throttle(500_000);
  try {
    const headers = { "content-type": "application/json" };
    expect((await fetch(url(0, "team/slow:1"), { method: "PUT", body: "{}", headers })).status).toBe(202);
    await eventually(async () => expect(await stateAt(1, "team/slow:1")).toBe("pulling"));
    expect(await stateAt(0, "team/slow:1")).toBe("pulling");
  } finally {
    scene.upstream.proxy.throttle(undefined);
  }
  await eventually(async () => expect(await stateAt(1, "team/slow:1")).toBe("ready"));
});

it("and one that nobody warms any more is not", async () => {
  const headers = { "content-type": "application/json" };
  await fetch(url(0, "team/missing:1"), { method: "PUT", body: "{}", headers });
  await eventually(async () => expect(await stateAt(0, "team/missing:1")).toBe("failed"));
  await eventually(async () => expect(await stateAt(1, "team/missing:1")).toBe("pending"));
});
