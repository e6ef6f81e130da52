import { readFile, stat } from "node:fs/promises";
import { inspect } from "node:util";
import { messageOf } from "@cache-registry/core/errors";
import { REDACTED } from "./secret-keys.ts";

/** A value that no log, JSON document or template shows by accident. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}

/** Are two configurations the same, secrets included? To `isDeepStrictEqual` all secrets are equal. */
export function isSameConfig(one: unknown, other: unknown): boolean {
  if (one instanceof Secret && other instanceof Secret) return one.reveal() === other.reveal();
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) {
    return Object.is(one, other);
  }
  const [left, right] = [new Map(Object.entries(one)), new Map(Object.entries(other))];
  return left.size === right.size && [...left].every(([key, value]) => isSameConfig(value, right.get(key)));
}

export type SecretFile = {
  readonly path: string;
  /**
   * The file's content without one trailing newline; read again when the file changed.
   * @throws Error naming the path when it cannot be read, also after it could: a Secret taken away is gone
   */
  read(): Promise<string>;
};

/** A secret mounted as a file. Kubernetes swaps a symlink, so the identity of what the path leads to is compared. */
export function createSecretFile(path: string): SecretFile {
  let cached: { readonly version: string; readonly value: string } | undefined;

  async function read(): Promise<string> {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    const version = [dev, ino, size, mtimeNs, ctimeNs].join(":");
    if (cached?.version !== version) {
      cached = { version, value: (await readFile(path, "utf8")).replace(/\r?\n$/, "") };
    }
    return cached.value;
  }

  return {
    path,
    async read() {
      try {
        return await read();
      } catch (error) {
        throw new Error(`cannot read the secret file ${path}: ${messageOf(error)}`, { cause: error });
      }
    },
  };
}
