import { CodedError } from "@cache-registry/core/errors";
import type { Authenticator } from "./htpasswd.ts";

/** Deleting needs the right to push. */
export type Action = "pull" | "push";

export type Authorizer = {
  /**
   * @param authorization the request's Authorization header
   * @throws CodedError UNAUTHORIZED with a challenge; it says which key to set
   */
  authorize(action: Action, authorization: string | undefined): Promise<void>;
  /** For `GET /v2/`: clients decide there whether to send credentials at all, so it challenges when somebody can log in. */
  ping(authorization: string | undefined): Promise<void>;
};

export type AuthorizerOptions = {
  readonly authenticators: readonly Authenticator[];
  readonly anonymousPull: boolean;
  readonly anonymousPush: boolean;
};

const CHALLENGE = { "www-authenticate": 'Basic realm="cache-registry", charset="UTF-8"' };
const HINT: Record<Action, string> = {
  pull: "log in, or set auth.anonymousPull",
  push: "log in as a user of auth.htpasswdFile (or auth.usernameFile), or set auth.anonymousPush",
};

export function createAuthorizer({ authenticators, anonymousPull, anonymousPush }: AuthorizerOptions): Authorizer {
  async function isKnown(authorization: string): Promise<boolean> {
    const pair = parseBasic(authorization);
    if (!pair) return false;
    for (const authenticator of authenticators) {
      if (await authenticator.verify(...pair)) return true;
    }
    return false;
  }

  function refuse(message: string): CodedError {
    return new CodedError("UNAUTHORIZED", message, { headers: CHALLENGE });
  }

  return {
    async authorize(action, authorization) {
      // Credentials that nobody could check (no users are configured) are not held against an anonymous right.
      const anonymous = action === "pull" ? anonymousPull : anonymousPush;
      if (anonymous && (authorization === undefined || authenticators.length === 0)) return;
      if (authorization === undefined) throw refuse(`authentication required to ${action}: ${HINT[action]}`);
      if (!(await isKnown(authorization))) throw refuse("user name or password is wrong");
    },
    async ping(authorization) {
      if (authenticators.length === 0) return;
      if (authorization === undefined && anonymousPull && anonymousPush) return;
      if (authorization === undefined) throw refuse(`authentication is offered: ${HINT.push}`);
      if (!(await isKnown(authorization))) throw refuse("user name or password is wrong");
    },
  };
}

/** RFC 7617. */
function parseBasic(authorization: string): [username: string, password: string] | undefined {
  const match = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(authorization);
  if (!match?.[1]) return undefined;
  const text = Buffer.from(match[1], "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon < 0 ? undefined : [text.slice(0, colon), text.slice(colon + 1)];
}
