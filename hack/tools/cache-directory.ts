import { homedir } from "node:os";
import { join } from "node:path";

/** The folder that keeps what is expensive to make again: built tools, cluster state. `CREG_CACHE_DIR` moves it. */
export function cacheDirectory(environment: NodeJS.ProcessEnv = process.env): string {
  if (environment.CREG_CACHE_DIR) return environment.CREG_CACHE_DIR;
  return join(environment.XDG_CACHE_HOME || join(homedir(), ".cache"), "cache-registry");
}
