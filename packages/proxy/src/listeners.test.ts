import { silentLogger } from "@cache-registry/runtime/logger";
import { createServer } from "@cache-registry/runtime/server";
import { expect, it } from "vitest";
import { createListeners } from "./listeners.ts";

const logger = silentLogger();
const createApp = () => createServer({ logger, name: "test" });
const listeners = (hosts: string[], port = 0) => createListeners({ hosts, port, createApp, logger });

it("leaves out an address that the node lacks", async () => {
  const service = listeners(["127.0.0.1", "192.0.2.1"]);
  await service.start?.(AbortSignal.timeout(1000));
  expect(service.bound.map(({ host }) => host)).toEqual(["127.0.0.1"]);
  await service.stop?.();
});

it("fails without any address", async () => {
  await expect(listeners(["192.0.2.1"]).start?.(AbortSignal.timeout(1000))).rejects.toThrow("192.0.2.1");
});

it("two processes may listen on the same port", async () => {
  const first = listeners(["127.0.0.1"]);
  await first.start?.(AbortSignal.timeout(1000));
  const second = listeners(["127.0.0.1"], first.bound[0]?.port);
  await second.start?.(AbortSignal.timeout(1000));
  expect(second.bound[0]?.port).toBe(first.bound[0]?.port);
  await second.stop?.();
  await first.stop?.();
});
