import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "@cache-registry/core/errors";
import { createRegistryFolder, type FolderState } from "./registry-folder.ts";

/** Registry, or the name of a folder, → how it stands. */
export type Report = ReadonlyMap<string, FolderState>;

/**
 * containerd's hosts.toml files on this node. Each of them says by itself whether it is ours and where the one before is,
 * so nothing else has to be remembered.
 */
export type HostsToml = {
  /** Looks only. */
  inspect(): Promise<Report>;
  /** Leads the registries to the proxy, and those no more that are not wanted any longer. */
  apply(): Promise<Report>;
  /** Restores everything; what somebody else changed is left alone and in the report. */
  remove(): Promise<Report>;
};

export type HostsTomlOptions = {
  /** The `config_path` of containerd. */
  readonly directory: string;
  /** As image references name them, or `_default`. */
  readonly registries: readonly string[];
  /** The proxy on this node. */
  readonly url: string;
};

/** The folders in which containerd looks for a registry, in its order; with the last it is made. containerd docs/hosts.md */
function foldersOf(registry: string): string[] {
  const underscored = registry.replace(/:(\d+)$/, "_$1_");
  return underscored === registry ? [registry] : [underscored, registry];
}

export function createHostsToml({ directory, registries, url }: HostsTomlOptions): HostsToml {
  const open = (folder: string) => createRegistryFolder(join(directory, folder), url);

  /** Folders, also those that are links to one. @throws Error of the system */
  async function present(): Promise<string[]> {
    const names = await readdir(directory).catch((error: unknown) => {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
      throw error;
    });
    const kinds = await Promise.all(names.map((name) => stat(join(directory, name)).catch(() => undefined)));
    return names.filter((_, index) => kinds[index]?.isDirectory());
  }

  function wanted(folders: readonly string[]): (readonly [registry: string, folder: string])[] {
    const there = new Set(folders);
    return registries.map((registry) => {
      const folders = foldersOf(registry);
      return [registry, folders.find((folder) => there.has(folder)) ?? folders.at(-1) ?? registry] as const;
    });
  }

  /** Two names may be one folder. */
  async function placeOf(folder: string): Promise<string> {
    return realpath(join(directory, folder)).catch(() => folder);
  }

  /** All folders but those, under whatever name. */
  async function allBut(folders: readonly string[]): Promise<string[]> {
    const kept = new Set(await Promise.all(folders.map(placeOf)));
    const names = await present().catch(() => []);
    const places = await Promise.all(names.map(placeOf));
    return names.filter((_, index) => !kept.has(places[index] ?? ""));
  }

  async function attempt(step: () => Promise<FolderState>): Promise<FolderState> {
    try {
      return await step();
    } catch (error) {
      return { state: "left-alone", why: `it cannot be written: ${messageOf(error)}` };
    }
  }

  /** What stays of us in these folders is reported. */
  async function removeFrom(folders: readonly string[]): Promise<[string, FolderState][]> {
    const report: [string, FolderState][] = [];
    for (const folder of folders) {
      const state = await attempt(() => open(folder).remove());
      if (state.state === "left-alone") report.push([folder, state]);
    }
    return report;
  }

  return {
    async inspect() {
      const report = new Map<string, FolderState>();
      const list = wanted(await present().catch(() => []));
      for (const [registry, folder] of list) report.set(registry, await open(folder).inspect());
      return report;
    },
    async apply() {
      const report = new Map<string, FolderState>();
      const list = wanted(await present().catch(() => []));
      for (const [registry, folder] of list) report.set(registry, await attempt(() => open(folder).apply()));
      const others = await allBut(list.map(([, folder]) => folder));
      for (const [folder, state] of await removeFrom(others)) report.set(folder, state);
      return report;
    },
    async remove() {
      try {
        return new Map(await removeFrom(await present()));
      } catch (error) {
        return new Map([[directory, { state: "left-alone", why: `it cannot be read: ${messageOf(error)}` }]]);
      }
    },
  };
}

/** What a person should know of; undefined: all is as it shall be. */
export function troubleOf(report: Report): string | undefined {
  const troubles = [...report].flatMap(([registry, { state, why }]) => {
    if (state === "left-alone") return [`${registry}: ${why}`];
    return state === "foreign" ? [`${registry}: not led to the proxy`] : [];
  });
  return troubles.length > 0 ? troubles.join("; ") : undefined;
}
