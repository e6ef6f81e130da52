import type { Logger } from "@cache-registry/runtime/logger";
import type { RegistryConfig } from "../config.ts";
import { type Authenticator, createHtpasswd, createSingleUser } from "./htpasswd.ts";

/** Who may push, as `auth` says. */
export function authenticatorsOf(auth: RegistryConfig["auth"], logger: Logger): Authenticator[] {
  const authenticators: Authenticator[] = [];
  if (auth.htpasswdFile !== undefined) authenticators.push(createHtpasswd(auth.htpasswdFile, logger));
  if (auth.usernameFile !== undefined && auth.passwordFile !== undefined) {
    authenticators.push(createSingleUser(auth.usernameFile, auth.passwordFile));
  }
  return authenticators;
}
