import { createLogger } from "@cache-registry/runtime/logger";
import { createInProcessLeaseStore } from "@cache-registry/storage/lease-store/in-process";
import { describe, expect, it } from "vitest";
import { createLeases } from "./leases.ts";
import { createTogether } from "./together.ts";

const logger = createLogger({ level: "silent", component: "test" });
const store = createInProcessLeaseStore();
const replica = () => createTogether(createLeases({ store, address: null, logger }));

function scene() {
  let brought: string | undefined;
  let works = 0;
  const done = Promise.withResolvers<string>();
  const task = {
    there: async () => brought,
    work: async () => {
      works += 1;
      brought = await done.promise;
      return brought;
    },
  };
  return { task, done, works: () => works };
}

describe("what replicas do together", () => {
  it("is done once, for all of them", async () => {
    const { task, done, works } = scene();
    const answers = [replica(), replica(), replica()].map((together) => together("x", task));
    await new Promise((resolve) => setTimeout(resolve, 120));
    done.resolve("value");
    expect(await Promise.all(answers)).toEqual(["value", "value", "value"]);
    expect(works()).toBe(1);
    expect(await replica()("x", task)).toBe("value");
    expect([works(), await store.list("")]).toEqual([1, []]);
  });

  it("is done by each where one fails", async () => {
    const { task, done, works } = scene();
    const answers = [replica(), replica()].map((together) => together("y", task));
    done.reject(new Error("refused"));
    for (const answer of answers) await expect(answer).rejects.toThrow("refused");
    expect([works(), await store.list("")]).toEqual([2, []]);
  });

  it("is done by each where there are no leases", async () => {
    const { task, done, works } = scene();
    const away = () => Promise.reject(new Error("away"));
    const together = createTogether({ acquire: away, lookup: away });
    const other = { name: "once/z", holder: "b", address: null, token: 1, since: 0 };
    const cutOff = createTogether({ acquire: async () => ({ other }), lookup: away });
    const answers = [together("z", task), together("z", task), cutOff("z", task)];
    // Until all of them work: one that sees the value does not.
    await expect.poll(works).toBe(3);
    done.resolve("value");
    expect(await Promise.all(answers)).toEqual(["value", "value", "value"]);
  });
});
