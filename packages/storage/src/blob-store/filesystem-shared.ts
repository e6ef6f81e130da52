import { link, lstat, opendir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, digestOf, isDigestAlgorithm } from "@cache-registry/core/digest";
import type { Confirm } from "./blob-store.ts";
import { errnoOf, isAbsent, storeError } from "./filesystem-errors.ts";
import { createLayout } from "./filesystem-layout.ts";

/*
 * Many replicas on one file system. A rename names no bytes, only a path: one that is carried out late, after the lock went
 * to another, would take what that one just committed. So it is looked at afterwards what was taken, and given back.
 */

/** Which file it is, not only where: another one in its place has another identity. */
async function identityOf(path: string): Promise<string | undefined> {
  try {
    const { ino, mtimeNs } = await lstat(path, { bigint: true });
    return `${ino}-${mtimeNs}`;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** New bytes that came in its place meanwhile are the same ones. */
async function putBack(taken: string, path: string): Promise<void> {
  await link(taken, path).catch((error: unknown) => {
    if (errnoOf(error) !== "EEXIST") throw error;
  });
  await rm(taken, { force: true });
}

/** Moves the file that is at `path` now to `destination(identity)`, and no other. Undefined when nothing was moved. */
export async function takeAway(
  path: string,
  destination: (identity: string) => string,
  confirm: Confirm | undefined,
): Promise<string | undefined> {
  const identity = await identityOf(path);
  if (identity === undefined) return undefined;
  await confirm?.();
  const taken = destination(identity);
  try {
    await rename(path, taken);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw storeError(error);
  }
  if ((await identityOf(taken)) === identity) return taken;
  await putBack(taken, path);
  return undefined;
}

/** `<algorithm>-<hex>.<generation>.<identity>`: what a crash leaves of a removal says what was meant. */
export function trashName(digest: Digest, generation: number, identity: string): string {
  return `${digest.replace(":", "-")}.${generation}.${identity}`;
}

/** Removes the folder of a replica that is gone; what it took by mistake at its end goes back. */
export async function removeReplica(root: string, replica: string): Promise<void> {
  const { trash, blob, replicas } = createLayout(root, replica);
  const entries = await opendir(trash).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw error;
  });
  for await (const { name } of entries) {
    const [, algorithm = "", hex = "", identity] = /^(\w+)-([0-9a-f]+)\.\d+\.(\d+-\d+)$/.exec(name) ?? [];
    if (!isDigestAlgorithm(algorithm)) continue;
    const taken = join(trash, name);
    if ((await identityOf(taken)) !== identity) await putBack(taken, blob(digestOf(algorithm, hex)));
  }
  await rm(join(replicas, replica), { recursive: true, force: true });
}
