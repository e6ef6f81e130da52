import { spawn } from "node:child_process";
import { describe, expect, it } from "vitest";
import { endProcesses, findProcesses, identify, isAlive, type ProcessIdentity } from "./process-table.ts";

async function started(script: string): Promise<ProcessIdentity> {
  const child = spawn("sh", ["-c", `${script}; echo ready; while :; do sleep 0.05; done`, "process-table-test"]);
  await new Promise((resolve) => child.stdout.once("data", resolve));
  const identity = identify(child.pid ?? 0);
  if (!identity) throw new Error("the child is not there");
  return identity;
}

describe("process table", () => {
  it("knows a process by number and start time", () => {
    const self = identify(process.pid);
    expect(self && isAlive(self)).toBe(true);
    expect(isAlive({ pid: process.pid, startTime: "1" })).toBe(false);
  });

  it("finds processes by their arguments and ends them", async () => {
    const child = await started("true");
    const found = findProcesses((argv) => argv.at(-1) === "process-table-test");
    expect(found).toContainEqual(child);
    await endProcesses([child], 5_000);
    expect(isAlive(child)).toBe(false);
  });

  it("kills a process that ignores SIGTERM", async () => {
    const child = await started("trap '' TERM");
    await endProcesses([child], 100);
    expect(isAlive(child)).toBe(false);
  });
});
