import { describe, expect, it } from "vitest";
import { createLoopDetector, isLoop, type LoopDetector, shortLifeOf } from "./loop-detector.ts";
import type { PodLife, PodOwner } from "./pod-life.ts";

const MINUTE = 60_000;
const RULES = { recreations: 5, within: 10 * MINUTE };

function ownerOf(kind: string, name: string): PodOwner {
  return { namespace: "shop", apiVersion: "example.com/v1", kind, name, uid: `uid-${name}` };
}
const DATABASE = ownerOf("Cluster", "db");

/** Drives a detector with the changes that a cluster would cause; the clock is in the test's hand. */
function cluster(options: { generation?: () => number; rules?: typeof RULES } = {}) {
  const detector: LoopDetector = createLoopDetector(options.rules ?? RULES, () => options.generation?.());
  let now = 1_000_000;
  const lives = new Map<string, PodLife>();
  const pass = (milliseconds: number): void => {
    now += milliseconds;
  };
  const create = (name: string, { owner = DATABASE, template = "v1" } = {}): string | undefined => {
    const life = { owner, template, created: now, ending: false };
    lives.set(name, life);
    return detector.see({ type: "added", key: `shop/${name}`, object: { life } }, now)?.name;
  };
  /** The request, and the kubelet's answer after so many milliseconds; undefined: at once. */
  const remove = (name: string, grace?: number): void => {
    let life = lives.get(name);
    if (grace !== undefined && life) {
      life = { ...life, ending: true };
      detector.see({ type: "updated", key: `shop/${name}`, object: { life } }, now);
      detector.see({ type: "updated", key: `shop/${name}`, object: { life } }, now);
      now += grace;
    }
    detector.see({ type: "deleted", key: `shop/${name}`, object: { life } }, now);
  };
  /** From now on nothing more is known of it. */
  const discount = (name: string): void => {
    lives.delete(name);
    detector.see({ type: "updated", key: `shop/${name}`, object: {} }, now);
  };
  return { pass, create, remove, discount };
}

describe("isLoop", () => {
  it("is so many recreations within the window, not fewer and not slower", () => {
    expect(isLoop([0, 1, 2, 3, 4], RULES)).toBe(true);
    expect(isLoop([0, 1, 2, 3], RULES)).toBe(false);
    expect(isLoop([0, 1, 2, 3, RULES.within], RULES)).toBe(true);
    expect(isLoop([0, 1, 2, 3, RULES.within + 1], RULES)).toBe(false);
    expect(isLoop([0, 20 * MINUTE, 21 * MINUTE, 22 * MINUTE, 23 * MINUTE, 24 * MINUTE], RULES)).toBe(true);
  });
});

describe("an operator that does not accept the image", () => {
  it.each<[string, number | undefined]>([
    ["and deletes by force", undefined],
    ["and waits for the grace period", 20_000],
  ])("makes a pod of the same name again and again %s: found at the fifth", (_how, grace) => {
    const { create, pass, remove } = cluster();
    const found: (string | undefined)[] = [create("db-1")];
    for (let round = 0; round < 5; round += 1) {
      pass(5_000);
      remove("db-1", grace);
      pass(1_000);
      found.push(create("db-1"));
    }
    expect(found).toEqual([undefined, undefined, undefined, undefined, undefined, "db"]);
  });

  it("makes pods of ever new names, before the old ones are gone", () => {
    const detector = createLoopDetector(RULES, () => 1);
    const life = (at: number, ending = false): PodLife => ({ owner: DATABASE, template: "v1", created: at, ending });
    const found: (string | undefined)[] = [];
    for (let round = 0; round <= 5; round += 1) {
      const at = round * 40_000;
      if (round > 0) {
        const old = { key: `shop/db-${round - 1}`, object: { life: life(at - 40_000, true) } };
        detector.see({ type: "updated", ...old }, at);
      }
      const added = { type: "added", key: `shop/db-${round}`, object: { life: life(at) } } as const;
      found.push(detector.see(added, at + 10)?.name);
      if (round > 0) {
        const old = { key: `shop/db-${round - 1}`, object: { life: life(at - 40_000, true) } };
        detector.see({ type: "updated", ...old }, at + 20);
        detector.see({ type: "deleted", ...old }, at + 30);
      }
    }
    expect(found).toEqual([undefined, undefined, undefined, undefined, undefined, "db"]);
  });

  it("is found among others that do nothing wrong, and only once per chain", () => {
    const { create, pass, remove } = cluster();
    const other = ownerOf("ReplicaSet", "web");
    const found: (string | undefined)[] = [];
    create("db-1");
    create("web-1", { owner: other });
    for (let round = 0; round < 7; round += 1) {
      pass(1_000);
      remove("db-1");
      found.push(create("db-1"));
    }
    remove("web-1");
    found.push(create("web-2", { owner: other }));
    expect(found.filter(Boolean)).toEqual(["db"]);
  });
});

describe("what is no loop", () => {
  function rounds(act: (round: number) => string | undefined, count = 20): (string | undefined)[] {
    return Array.from({ length: count }, (_, round) => act(round)).filter(Boolean);
  }

  it("a hundred pods deleted at once, twice", () => {
    const { create, pass, remove } = cluster();
    const names = Array.from({ length: 100 }, (_, index) => `pod-${index}`);
    for (const name of names) create(name);
    const found = rounds(() => {
      pass(30_000);
      for (const name of names) remove(name);
      return names.map((name) => create(name)).find(Boolean);
    }, 2);
    expect(found).toEqual([]);
  });

  it("pods that live long, though not for ever", () => {
    const { create, pass, remove } = cluster();
    create("db-1");
    const found = rounds(() => {
      pass(shortLifeOf(RULES) + 1);
      remove("db-1");
      return create("db-1");
    });
    expect(found).toEqual([]);
  });

  it("lives that are short, but too long for the window", () => {
    const { create, pass, remove } = cluster();
    create("db-1");
    const found = rounds(() => {
      pass(shortLifeOf(RULES) - 1);
      remove("db-1");
      return create("db-1");
    });
    expect(found).toEqual([]);
  });

  it("pods that come back only after a while: scaled to nothing and up again", () => {
    const { create, pass, remove } = cluster();
    create("db-1");
    const found = rounds(() => {
      pass(10_000);
      remove("db-1", 1_000);
      pass(31_000);
      return create("db-1");
    });
    expect(found).toEqual([]);
  });

  it("an owner that is changed or scaled each time", () => {
    let generation = 1;
    const { create, pass, remove } = cluster({ generation: () => generation });
    create("db-1");
    const found = rounds(() => {
      pass(10_000);
      generation += 1;
      remove("db-1");
      generation += 1;
      return create("db-1");
    });
    expect(found).toEqual([]);
  });

  it("another revision each time", () => {
    const { create, pass, remove } = cluster();
    create("db-1", { template: "r0" });
    const found = rounds((round) => {
      pass(10_000);
      remove("db-1");
      return create("db-1", { template: `r${round + 1}` });
    });
    expect(found).toEqual([]);
  });

  it("pods whose end means nothing: finished, crashed, evicted", () => {
    const { create, pass, remove, discount } = cluster();
    create("db-1");
    const found = rounds(() => {
      pass(10_000);
      discount("db-1");
      remove("db-1");
      return create("db-1");
    });
    expect(found).toEqual([]);
  });

  it("pods of many owners, one each", () => {
    const { create, pass, remove } = cluster();
    const found = rounds((round) => {
      const owner = ownerOf("Job", `job-${round}`);
      const made = create(`pod-${round}`, { owner });
      pass(1_000);
      remove(`pod-${round}`);
      return made;
    }, 5_000);
    expect(found).toEqual([]);
  });
});

describe("a chain", () => {
  it("is that of the pod that was made again most often, where several are on their way out", () => {
    const { create, pass, remove } = cluster();
    create("db-1");
    create("db-2");
    for (let round = 0; round < 4; round += 1) {
      pass(1_000);
      remove("db-1");
      create("db-1");
    }
    remove("db-2");
    remove("db-1");
    expect(create("db-1")).toBe("db");
  });

  it("is not begun a second time by a pod that takes long to go", () => {
    const detector = createLoopDetector({ ...RULES, recreations: 2 }, () => undefined);
    const life: PodLife = { owner: DATABASE, template: "v1", created: 0, ending: false };
    const see = (type: "added" | "updated" | "deleted", key: string, ending = false) =>
      detector.see({ type, key, object: { life: { ...life, ending } } }, 1_000)?.name;
    see("added", "a");
    see("updated", "a", true);
    see("added", "b");
    see("updated", "a", true);
    // One more replica, in place of nobody.
    see("added", "c");
    see("updated", "c", true);
    expect(see("added", "d")).toBeUndefined();
    see("updated", "d", true);
    expect(see("added", "e")).toBe("db");
  });

  it("goes on after an interruption by one long life only from the beginning", () => {
    const { create, pass, remove } = cluster();
    const again = () => {
      pass(1_000);
      remove("db-1");
      return create("db-1");
    };
    create("db-1");
    expect([again(), again(), again(), again()].filter(Boolean)).toEqual([]);
    pass(shortLifeOf(RULES));
    expect([again(), again(), again(), again(), again()].filter(Boolean)).toEqual([]);
    expect(again()).toBe("db");
  });
});
