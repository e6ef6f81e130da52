import { createBufferPool } from "@cache-registry/runtime/buffer-pool";
import { createLogger, silentLogger } from "@cache-registry/runtime/logger";
import { createMetrics } from "@cache-registry/runtime/metrics";
import { createServer, listen } from "@cache-registry/runtime/server";
import { expect, it } from "vitest";
import { createPullThroughMetrics } from "../pull-through/pull-through-metrics.ts";
import { createBlobSender } from "./blob-sender.ts";

it("logs which stream broke off without the query, which may carry a token", async () => {
  const lines: string[] = [];
  const send = createBlobSender({
    pool: createBufferPool(),
    metrics: createPullThroughMetrics(createMetrics({ defaultMetrics: false }), (registry) => registry),
    logger: createLogger({ component: "test", destination: { write: (line) => void lines.push(line) } }),
  });
  const read = () => Promise.reject(new Error("the disk is gone"));
  const reader = async () => ({ read, close: async () => {} });
  const server = createServer({ logger: silentLogger(), name: "test", accessLog: false });
  server.get("/*", (_request, reply) =>
    send({
      reply,
      content: { size: 9, outcome: "hit", from: "store", reader },
      range: undefined,
      upstream: "",
      length: 9,
    }),
  );
  const { url } = await listen(server, { host: "127.0.0.1", port: 0 });
  try {
    await expect(fetch(`${url}/v2/app/blobs/x?sig=hunter2`).then((answer) => answer.text())).rejects.toThrow(
      /terminated|fetch failed/,
    );
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { level: "warn", path: "/v2/app/blobs/x", err: { message: "the disk is gone" } },
    ]);
    expect(lines.join("")).not.toContain("hunter2");
  } finally {
    await server.close();
  }
});
