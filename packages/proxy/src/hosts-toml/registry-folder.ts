import { mkdir, readdir, rmdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { messageOf } from "@cache-registry/core/errors";
import { syncFolder } from "@cache-registry/runtime/sync-folder";
import { dropUnfinished, keepAs, moveDurably, readPlainFile, removeDurably, writeDurably } from "./durable-file.ts";
import {
  certificatesAmong,
  freshText,
  type Mark,
  markOf,
  mergeInto,
  type Origin,
  withMark,
  withoutOurs,
} from "./hosts-file.ts";

/** How a registry's folder stands with us. `ours`: it leads to the proxy. `foreign`: not touched by us, or no more. */
export type FolderState = {
  readonly state: "ours" | "already" | "foreign" | "left-alone";
  /** Why it is left alone. */
  readonly why?: string;
};

/** One registry's folder in containerd's certs.d. */
export type RegistryFolder = {
  /** Looks only. `foreign` where something could be written. */
  inspect(): Promise<FolderState>;
  /** Writes where that is needed. @throws Error of the system */
  apply(): Promise<FolderState>;
  /** Restores what was there before. @throws Error of the system */
  remove(): Promise<FolderState>;
};

const DEFAULT_MODE = 0o644;
const CHANGED = "its hosts.toml was changed by somebody else since we wrote it";

type Found = {
  readonly text: string | undefined;
  readonly backup: string | undefined;
  readonly mark: Mark | undefined;
  readonly entries: readonly string[] | undefined;
};

export function createRegistryFolder(path: string, url: string): RegistryFolder {
  const file = join(path, "hosts.toml");
  const backupFile = join(path, "hosts.toml.before-cache-registry");

  async function look(): Promise<Found> {
    const text = await readPlainFile(file);
    const backup = await readPlainFile(backupFile);
    const entries = await readdir(path).catch(() => undefined);
    return { text, backup, mark: text === undefined ? undefined : markOf(text), entries };
  }

  /** Whether somebody else had a hand in what we wrote. A backup equal to the file: we were interrupted before writing. */
  function isChanged({ text, backup, mark }: Found): boolean {
    return mark ? !mark.intact : backup !== undefined && backup !== text;
  }

  function originOf({ text, backup, mark, entries }: Found): Origin {
    if (backup !== undefined || (!mark && text !== undefined)) return "file";
    return mark?.origin ?? (entries === undefined ? "nothing" : "folder");
  }

  /** What the user wrote. Without the backup, which anybody may tidy away, it is still in our own file. */
  function originalOf(found: Found): string | undefined {
    const { text = "", backup, mark } = found;
    if (!mark) return found.text;
    return backup ?? (mark.origin === "file" ? withoutOurs(text) : undefined);
  }

  /** What the file shall be; a state: it is to be left as it is. */
  function wanted(found: Found): { text: string } | FolderState {
    const original = originalOf(found);
    // Without a byte in it, it is no hosts.toml to containerd.
    if (!original) return { text: freshText(url, certificatesAmong(found.entries ?? [])) };
    const merged = mergeInto(original, url);
    if ("already" in merged) return { state: "already" };
    return "refused" in merged ? { state: "left-alone", why: merged.refused } : { text: merged.text };
  }

  /** What stands in the way; undefined: nothing. */
  async function examine(): Promise<{ found: Found; state?: FolderState; target?: string }> {
    let found: Found;
    try {
      found = await look();
    } catch (error) {
      const nothing = { text: undefined, backup: undefined, mark: undefined, entries: undefined };
      return {
        found: nothing,
        state: { state: "left-alone", why: `its hosts.toml cannot be read: ${messageOf(error)}` },
      };
    }
    if (isChanged(found)) return { found, state: { state: "left-alone", why: CHANGED } };
    const target = wanted(found);
    if ("state" in target) return { found, state: target };
    const text = withMark(target.text, originOf(found));
    return found.text === text ? { found, state: { state: "ours" } } : { found, target: text };
  }

  async function write({ text, backup, mark, entries }: Found, target: string): Promise<void> {
    if (entries === undefined) {
      await mkdir(path, { recursive: true });
      await syncFolder(dirname(path));
    }
    if (text !== undefined && !mark && backup === undefined) await keepAs(file, backupFile);
    const mode = text === undefined ? DEFAULT_MODE : (await stat(file)).mode & 0o777;
    await writeDurably(file, target, mode);
  }

  /** An empty folder that we made goes, too. */
  async function removeFolder(): Promise<void> {
    try {
      await rmdir(path);
      await syncFolder(dirname(path));
    } catch {
      // Somebody else put something there.
    }
  }

  async function restore({ text = "", backup }: Found, { origin }: Mark): Promise<void> {
    if (backup !== undefined) await moveDurably(backupFile, file);
    else if (origin === "file") await writeDurably(file, withoutOurs(text), (await stat(file)).mode & 0o777);
    else await removeDurably(file);
    if (origin === "nothing") await removeFolder();
  }

  return {
    async inspect() {
      return (await examine()).state ?? { state: "foreign" };
    },
    async apply() {
      const { found, state, target } = await examine();
      if (state || target === undefined) return state ?? { state: "foreign" };
      await write(found, target);
      return { state: "ours" };
    },
    async remove() {
      const backup = await readPlainFile(backupFile).catch(() => undefined);
      let found: Found;
      try {
        found = await look();
      } catch (error) {
        // Another's folder is none of our business, however it looks, unless we had a hand in it.
        return backup === undefined ? { state: "foreign" } : { state: "left-alone", why: messageOf(error) };
      }
      if (isChanged(found)) return { state: "left-alone", why: CHANGED };
      await dropUnfinished(file);
      if (found.mark) await restore(found, found.mark);
      else if (backup !== undefined) await removeDurably(backupFile);
      return { state: "foreign" };
    },
  };
}
