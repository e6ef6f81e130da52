import { randomBytes } from "node:crypto";
import { algorithmOf, DIGEST_ALGORITHMS, type Digest, hexOf, isDigest } from "@cache-registry/core/digest";
import { forgetOldest } from "@cache-registry/runtime/forget-oldest";

/** How the objects of an object store are called. */
export type ObjectKeys = {
  /** Where new bytes go. */
  create(digest: Digest): string;
  /** Where bytes are, as far as is known; `anew`: without trust in what is remembered. */
  find(digest: Digest, anew?: boolean): Promise<string | undefined>;
  /** Every object with bytes of the digest, the one that stays last. */
  all(digest: Digest): Promise<string[]>;
  /** Undefined for a key that is not of our making. */
  digestOf(key: string): Digest | undefined;
};

/** One replica: `<folder><algorithm>/<hex>`, as in an OCI image layout (docs/adr/0011). */
export function createPlainKeys(folder: string): ObjectKeys {
  const keyOf = (digest: Digest): string => `${folder}${algorithmOf(digest)}/${hexOf(digest)}`;
  return {
    create: keyOf,
    find: async (digest) => keyOf(digest),
    all: async (digest) => [keyOf(digest)],
    digestOf: (key) => digestOfKey(folder, key),
  };
}

/** Digests whose keys are remembered, about 200 bytes each. */
const REMEMBERED = 20_000;

/**
 * Many replicas: `<folder><algorithm>/<hex>.<time>-<random>`. Every commit has a key of its own and a removal names the keys
 * that it saw, so one that is carried out late takes no new bytes (docs/adr/0018). Keys without the end are read too. `below`
 * lists the keys that begin so.
 */
export function createUniqueKeys(folder: string, below: (prefix: string) => AsyncIterable<string>): ObjectKeys {
  const known = new Map<Digest, string>();
  const baseOf = (digest: Digest): string => `${folder}${algorithmOf(digest)}/${hexOf(digest)}`;

  function remember(digest: Digest, key: string | undefined): void {
    known.delete(digest);
    if (key === undefined) return;
    known.set(digest, key);
    forgetOldest(known, REMEMBERED);
  }

  async function all(digest: Digest): Promise<string[]> {
    const keys: string[] = [];
    for await (const key of below(baseOf(digest))) {
      if (digestOfKey(folder, key) === digest) keys.push(key);
    }
    return keys.sort();
  }

  return {
    create(digest) {
      const time = Date.now().toString(36).padStart(9, "0");
      return `${baseOf(digest)}.${time}-${randomBytes(6).toString("hex")}`;
    },
    async find(digest, anew = false) {
      const remembered = anew ? undefined : known.get(digest);
      const key = remembered ?? (await all(digest)).at(-1);
      remember(digest, key);
      return key;
    },
    all,
    digestOf: (key) => digestOfKey(folder, key),
  };
}

function digestOfKey(folder: string, key: string): Digest | undefined {
  for (const algorithm of DIGEST_ALGORITHMS) {
    const below = `${folder}${algorithm}/`;
    if (!key.startsWith(below)) continue;
    const [hex = "", end] = key.slice(below.length).split(".", 2);
    const digest = `${algorithm}:${hex}`;
    if (isDigest(digest) && (end === undefined || /^[0-9a-z]{9}-[0-9a-f]{12}$/.test(end))) return digest;
  }
  return undefined;
}
