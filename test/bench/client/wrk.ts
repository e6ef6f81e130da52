import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { MANIFEST_TYPE } from "../../support/test-content.ts";

const WRK = "/usr/bin/wrk";
const run = promisify(execFile);

export const haveWrk: boolean = existsSync(WRK);

type Load = { readonly url: string; readonly connections: number; readonly seconds: number };

/** Requests per second, asked for by wrk, which takes less of the machine than a client of ours. */
export async function wrk({ url, connections, seconds }: Load): Promise<number> {
  const accept = ["-H", `Accept: ${MANIFEST_TYPE}`];
  const { stdout } = await run(WRK, ["-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "30s", ...accept, url]);
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`${url}:\n${stdout}`);
  return Number(/Requests\/sec: +([\d.]+)/.exec(stdout)?.[1]);
}
