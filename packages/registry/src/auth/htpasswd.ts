import { createHash, timingSafeEqual } from "node:crypto";
import type { Logger } from "@cache-registry/runtime/logger";
import { createSecretFile } from "@cache-registry/runtime/secret";
import { createPasswordThread, type PasswordThread } from "./password-thread.ts";

/** Who somebody is: verifies a user name and password. */
export type Authenticator = { verify(username: string, password: string): Promise<boolean> };

/** An entry that costs more than this would let one login stall the process (2^12 rounds, about 250 ms). */
const MAX_COST = 12;
const ENTRY = /^([^:]+):(\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53})$/;
const REMEMBERED = 1_000;

function parse(text: string, logger: Logger): Map<string, string> {
  const users = new Map<string, string>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const match = ENTRY.exec(line.trim());
    const [, user, hash, cost] = match ?? [];
    if (!user || !hash || Number(cost) > MAX_COST) {
      logger.error(
        { line: index + 1, allowed: `user:bcrypt hash with a cost of at most ${MAX_COST}` },
        "htpasswd line ignored",
      );
      continue;
    }
    users.set(user, hash.replace(/^\$2y/, "$2b"));
  }
  return users;
}

/** No password's hash. Compared with when the user is unknown; as costly as the users', so that the time tells nothing. */
function hashOfNobody(users: ReadonlyMap<string, string>): string {
  const costs = [...users.values()].map((hash) => Number(hash.slice(4, 6)));
  const cost = costs.length === 0 ? 10 : Math.max(...costs);
  return `$2b$${String(cost).padStart(2, "0")}$${".".repeat(53)}`;
}

/** Users of a bcrypt htpasswd file, read again when it changes. Verified pairs are remembered until then. */
export function createHtpasswd(
  path: string,
  logger: Logger,
  passwords: PasswordThread = createPasswordThread(),
): Authenticator {
  const file = createSecretFile(path);
  let text: string | undefined;
  let users = new Map<string, string>();
  let remembered = new Set<string>();

  return {
    async verify(username, password) {
      const current = await file.read();
      if (current !== text) {
        text = current;
        users = parse(current, logger);
        remembered = new Set();
      }
      const pair = createHash("sha256")
        .update(JSON.stringify([username, password]))
        .digest("base64");
      if (remembered.has(pair)) return true;
      const hash = users.get(username);
      const verified = remembered;
      const matches = await passwords.compare(password, hash ?? hashOfNobody(users));
      if (!matches || hash === undefined) return false;
      // Not the set of a file that was read meanwhile: this password may not be in it any more.
      if (verified.size < REMEMBERED) verified.add(pair);
      return true;
    },
  };
}

/** One user whose name and password are in files of their own. */
export function createSingleUser(usernameFile: string, passwordFile: string): Authenticator {
  const files = [createSecretFile(usernameFile), createSecretFile(passwordFile)] as const;
  return {
    async verify(username, password) {
      const [name, secret] = await Promise.all(files.map((file) => file.read()));
      // An empty file lets nobody in.
      return Boolean(name && secret) && equal(username, name ?? "") && equal(password, secret ?? "");
    },
  };
}

function equal(a: string, b: string): boolean {
  const hash = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}
