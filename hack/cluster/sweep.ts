import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { removeCgroups } from "./cgroups.ts";
import { NETWORK } from "./layout.ts";
import { removeMachineNetwork } from "./machine-network.ts";
import { endProcesses, findProcesses, isAlive } from "./process-table.ts";
import { type RunState, removeRunState } from "./run-state.ts";

const run = promisify(execFile);

/** The programs of a cluster; a process counts as ours when it is one of them and names the cluster's folder. */
const PROGRAMS = [
  "cert-manager",
  "containerd",
  "containerd-shim-runc-v2",
  "coredns",
  "etcd",
  "kube-apiserver",
  "kube-controller-manager",
  "kube-proxy",
  "kube-scheduler",
  "kubelet",
  "registry",
];

/** Says that a folder is a cluster's, and may be emptied. */
const MARKER = ".cache-registry-cluster";

/** @throws Error when the folder holds more than a cluster that has ended leaves, and none was ever there */
export async function claimDirectory(root: string): Promise<void> {
  await mkdir(root, { recursive: true });
  const entries = readdirSync(root);
  const ours = entries.includes(MARKER) || entries.every((entry) => entry === "logs");
  if (!ours) throw new Error(`${root} is not empty, and a cluster would empty it`);
  await writeFile(join(root, MARKER), "");
}

/** Removes everything a cluster left on the machine: processes, containers, mounts, network, cgroups, files except logs. */
export async function sweep(state: RunState): Promise<void> {
  const recorded = Object.values(state.processes).filter(isAlive);
  // Nothing they could still save is kept, and the API server alone would take seconds to say goodbye.
  await endProcesses([...recorded, ...processesOf(state.root)], 0);
  await removeCgroups();
  await unmountBelow(state.root);
  await removeMachineNetwork();
  await removeStrays(state.root);
  for (const entry of existsSync(state.root) ? readdirSync(state.root) : []) {
    if (entry !== "logs" && entry !== MARKER) await rm(join(state.root, entry), { recursive: true, force: true });
  }
  removeRunState();
}

function processesOf(root: string) {
  return findProcesses(
    ([program = "", ...args]) =>
      PROGRAMS.includes(basename(program)) && args.some((argument) => argument.includes(`${root}/`)),
  );
}

/** Innermost first; lazily, as a process that just died may still hold one for a moment. */
async function unmountBelow(root: string): Promise<void> {
  const points = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .flatMap((line) => {
      const point = line.split(" ")[1]?.replaceAll("\\040", " ");
      return point?.startsWith(`${root}/`) ? [point] : [];
    });
  for (const point of points.reverse()) await run("umount", ["-l", point]).catch(() => undefined);
}

/** Files that programs of the cluster keep outside its folder, whatever they are told. */
async function removeStrays(root: string): Promise<void> {
  await removeEntries("/var/log/containers", (path) => readlinkSync(path).startsWith(`${root}/`));
  await removeEntries("/var/lib/cni/results", (path) => basename(path).startsWith(`${NETWORK.name}-`));
  const bound = readFileSync("/proc/net/unix", "utf8");
  await removeEntries("/run/containerd/s", (path) => !bound.includes(path));
}

async function removeEntries(folder: string, belongsToUs: (path: string) => boolean): Promise<void> {
  for (const entry of existsSync(folder) ? readdirSync(folder) : []) {
    const path = join(folder, entry);
    try {
      if (belongsToUs(path)) await rm(path, { force: true });
    } catch {
      // Not a link, or gone: not ours to remove.
    }
  }
}
