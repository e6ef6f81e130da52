import { silentLogger } from "@cache-registry/runtime/logger";
import { expect, it } from "vitest";
import { compose } from "./compose.ts";
import { RegistryConfig } from "./config.ts";

it("stops the collector before the schedule, which waits for a pass to end", async () => {
  const config = RegistryConfig.parse({ storage: { blobs: { driver: "memory" } } });
  const { services } = await compose(config, silentLogger());
  // Stopped in reverse.
  const stopped = services.map(({ name }) => name).toReversed();
  expect(stopped).toEqual(expect.arrayContaining(["collector", "gc", "metadata store"]));
  expect(stopped.indexOf("collector")).toBeLessThan(stopped.indexOf("gc"));
  expect(stopped.indexOf("gc")).toBeLessThan(stopped.indexOf("metadata store"));
});
