import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { createWriterChannel } from "./sqlite-channel.ts";

/** A writer that behaves as the given program. */
function start(program: string, onWritten = () => {}) {
  const fatal: Error[] = [];
  const worker = new Worker(`const { parentPort: port } = require("node:worker_threads"); ${program}`, { eval: true });
  return { channel: createWriterChannel(worker, { onWritten, onFatal: (error) => fatal.push(error) }), fatal };
}

describe("writer channel", () => {
  it("answers each write with its own result, in any order", async () => {
    const { channel, fatal } = start(`
      const seen = [];
      port.on("message", (message) => {
        if (message === "close") { port.postMessage("closed"); port.close(); return; }
        seen.push(message);
        if (seen.length === 3) port.postMessage(seen.reverse().map(({ id, args }) =>
          args[0] === "bad" ? { id, failure: { message: "no room", code: "INSUFFICIENT_STORAGE" } } : { id, value: args[0] === "a" }));
      });
      port.postMessage("ready");`);
    await channel.ready();
    const writes = ["a", "bad", "c"].map((id) => channel.write("deleteUpload", id));
    const [a, bad, c] = await Promise.allSettled(writes);
    expect(a).toEqual({ status: "fulfilled", value: true });
    expect(bad).toMatchObject({ status: "rejected", reason: { code: "INSUFFICIENT_STORAGE", message: "no room" } });
    expect(c).toEqual({ status: "fulfilled", value: false });
    await channel.close();
    await channel.close();
    expect(fatal).toEqual([]);
    await expect(channel.write("deleteUpload", "late")).rejects.toThrow("closed");
  });

  it("says that something was written before it tells who wrote", async () => {
    const events: string[] = [];
    const { channel } = start(
      `port.on("message", (message) => message === "close" ? port.close() : port.postMessage([{ id: message.id, value: true }]));
       port.postMessage("ready");`,
      () => events.push("written"),
    );
    await channel.ready();
    await Promise.all(["a", "b"].map((id) => channel.write("deleteUpload", id).then(() => events.push("told"))));
    expect(events).toEqual(["written", "told", "written", "told"]);
    await channel.close();
  });

  it.each([
    ["exits", "process.exit(3)", "ended unexpectedly (exit code 3)"],
    ["throws", "throw new Error('disk I/O error')", "disk I/O error"],
  ])("rejects what is pending and reports it when the writer %s", async (_, end, message) => {
    const { channel, fatal } = start(`port.on("message", () => { ${end}; }); port.postMessage("ready");`);
    await channel.ready();
    const writes = await Promise.allSettled([channel.write("deleteUpload", "a"), channel.write("deleteUpload", "b")]);
    for (const write of writes)
      expect(write).toMatchObject({ status: "rejected", reason: { message: expect.stringContaining(message) } });
    await expect(channel.write("deleteUpload", "c")).rejects.toThrow(message);
    expect(fatal).toHaveLength(1);
    expect(fatal[0]?.message).toContain(message);
    await channel.close();
  });

  it("says why the writer could not start, and reports that only to who waits for it", async () => {
    const { channel, fatal } = start("throw new Error('schema version 7')");
    await expect(channel.ready()).rejects.toThrow("schema version 7");
    expect(fatal).toEqual([]);
  });
});
