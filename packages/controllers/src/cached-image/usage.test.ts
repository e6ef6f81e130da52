import { describe, expect, it } from "vitest";
import { type Consumer, createUsageIndex } from "./usage.ts";

const pod = (name: string, ...images: string[]): Consumer => ({ key: `Pod/ns/${name}`, images });

function replicaSet(number: number, image: string, active = false): Consumer {
  return { key: `ReplicaSet/ns/web-${number}`, images: [image], revision: { group: "uid", number, active } };
}

describe("createUsageIndex", () => {
  it("counts pods and owners of an image", () => {
    const index = createUsageIndex({ revisionsKept: 2 });
    index.put(pod("b", "x", "y"));
    index.put(pod("a", "x"));
    index.put({ key: "CronJob/ns/nightly", images: ["y"] });
    expect(index.usersOf("x")).toEqual({ pods: ["ns/a", "ns/b"], owners: [] });
    expect(index.usersOf("y")).toEqual({ pods: ["ns/b"], owners: ["CronJob ns/nightly"] });
    expect(index.usersOf("z")).toEqual({ pods: [], owners: [] });
  });

  it("tells which images a change concerns, old and new", () => {
    const index = createUsageIndex({ revisionsKept: 2 });
    expect([...index.put(pod("a", "x", "y"))].sort()).toEqual(["x", "y"]);
    expect([...index.put(pod("a", "y", "z"))].sort()).toEqual(["x", "y", "z"]);
    expect(index.usersOf("x").pods).toEqual([]);
    expect([...index.remove("Pod/ns/a")].sort()).toEqual(["y", "z"]);
    expect([...index.remove("Pod/ns/a")]).toEqual([]);
  });

  it("counts the newest revisions of a Deployment, by number and not by text", () => {
    const index = createUsageIndex({ revisionsKept: 2 });
    for (const number of [9, 10, 11]) index.put(replicaSet(number, `v${number}`));
    expect(index.usersOf("v9").owners).toEqual([]);
    expect(index.usersOf("v10").owners).toEqual(["ReplicaSet ns/web-10"]);
    expect(index.usersOf("v11").owners).toEqual(["ReplicaSet ns/web-11"]);
  });

  it("counts a revision that runs, whatever its age", () => {
    const index = createUsageIndex({ revisionsKept: 1 });
    index.put(replicaSet(1, "v1", true));
    for (const number of [2, 3]) index.put(replicaSet(number, `v${number}`));
    expect(index.usersOf("v1").owners).toHaveLength(1);
    expect(index.usersOf("v2").owners).toEqual([]);
  });

  it("names the images of siblings when a revision comes or goes", () => {
    const index = createUsageIndex({ revisionsKept: 1 });
    index.put(replicaSet(1, "v1"));
    expect([...index.put(replicaSet(2, "v2"))].sort()).toEqual(["v1", "v2"]);
    expect(index.usersOf("v1").owners).toEqual([]);
    expect([...index.remove("ReplicaSet/ns/web-2")].sort()).toEqual(["v1", "v2"]);
    expect(index.usersOf("v1").owners).toHaveLength(1);
  });

  it("keeps no revision at zero when told so", () => {
    const index = createUsageIndex({ revisionsKept: 0 });
    index.put(replicaSet(1, "v1"));
    expect(index.usersOf("v1").owners).toEqual([]);
  });

  it("agrees with a naive count after 5,000 random changes, and holds nothing at the end", () => {
    const index = createUsageIndex({ revisionsKept: 2 });
    const held = new Map<string, readonly string[]>();
    let state = 42;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    for (let step = 0; step < 5_000; step += 1) {
      const name = `p${random(50)}`;
      if (random(3) === 0) {
        index.remove(`Pod/ns/${name}`);
        held.delete(name);
      } else {
        const images = [...new Set([`i${random(10)}`, `i${random(10)}`])];
        index.put(pod(name, ...images));
        held.set(name, images);
      }
      const image = `i${random(10)}`;
      const expected = [...held].filter(([, images]) => images.includes(image)).map(([owner]) => `ns/${owner}`);
      expect(index.usersOf(image).pods).toEqual(expected.sort());
    }
    for (const name of held.keys()) index.remove(`Pod/ns/${name}`);
    for (let image = 0; image < 10; image += 1) expect(index.usersOf(`i${image}`).pods).toEqual([]);
  });
});
