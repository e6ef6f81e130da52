import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CGROUP } from "./layout.ts";
import { endProcesses, identify } from "./process-table.ts";

const ROOT = "/sys/fs/cgroup";

/** Cgroup v2 has one hierarchy, v1 one per controller. */
function hierarchies(): string[] {
  if (existsSync(join(ROOT, "cgroup.controllers"))) return [ROOT];
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  return mounts.flatMap((line) => {
    const [, path, type] = line.split(" ");
    return path && (type === "cgroup" || type === "cgroup2") ? [path] : [];
  });
}

/** Makes the cgroup under which a kubelet puts all pods, so that what they leave behind can be told from all else. */
export async function createCgroup(name: string): Promise<void> {
  for (const hierarchy of hierarchies()) {
    const controllers = await readFile(join(hierarchy, "cgroup.controllers"), "utf8").catch(() => "");
    for (const controller of controllers.split(/\s+/).filter(Boolean)) await enable(hierarchy, controller);
    const group = join(hierarchy, name);
    await mkdir(group, { recursive: true });
    // A v1 cpuset is born empty, and nothing can run in it before it has been given processors and memory nodes.
    for (const file of ["cpuset.cpus", "cpuset.mems"]) {
      const inherited = await readFile(join(hierarchy, file), "utf8").catch(() => undefined);
      if (inherited !== undefined) await writeFile(join(group, file), inherited).catch(() => undefined);
    }
    for (const controller of controllers.split(/\s+/).filter(Boolean)) await enable(group, controller);
  }
}

/** A controller that cannot be handed on (a v2 group with processes of its own) stays out: the kubelet names what it lacks. */
async function enable(group: string, controller: string): Promise<void> {
  await writeFile(join(group, "cgroup.subtree_control"), `+${controller}`).catch(() => undefined);
}

/** Ends every process in the nodes' cgroups, which are the pods' processes, and removes the cgroups. */
export async function removeCgroups(): Promise<void> {
  const groups = hierarchies().flatMap((hierarchy) =>
    readdirSync(hierarchy)
      .filter((name) => name === CGROUP || name.startsWith(`${CGROUP}-`))
      .flatMap((name) => descendants(join(hierarchy, name))),
  );
  const pids = new Set(groups.flatMap((group) => processesOf(group)));
  await endProcesses(
    [...pids].flatMap((pid) => identify(pid) ?? []),
    0,
  );
  for (const group of groups.sort((a, b) => b.length - a.length)) await removeGroup(group);
}

/** The kernel may need a moment after the last process before a group counts as empty. */
async function removeGroup(group: string): Promise<void> {
  for (let attempt = 0; attempt < 20 && existsSync(group); attempt++) {
    await rmdir(group).catch(() => new Promise((resolve) => setTimeout(resolve, 50)));
  }
}

/** Groups may go while they are walked: their containers are ending. */
function descendants(group: string): string[] {
  try {
    const children = readdirSync(group, { withFileTypes: true }).filter((child) => child.isDirectory());
    return [group, ...children.flatMap(({ name }) => descendants(join(group, name)))];
  } catch {
    return [];
  }
}

function processesOf(group: string): number[] {
  try {
    return readFileSync(join(group, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
