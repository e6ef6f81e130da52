import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { createRegistryApi } from "../../support/registry-api.ts";
import { MANIFEST_TYPE, makeImage } from "../../support/test-content.ts";
import { type Figure, measure } from "../measure.ts";
import { holders, type Scene } from "../scene.ts";

const WRK = "/usr/bin/wrk";
const CONNECTIONS = 32;
const SECONDS = 2;
const run = promisify(execFile);

async function wrk(url: string): Promise<number> {
  const { stdout } = await run(WRK, [
    "-t1",
    `-c${CONNECTIONS}`,
    `-d${SECONDS}s`,
    "-H",
    `Accept: ${MANIFEST_TYPE}`,
    url,
  ]);
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`${url}:\n${stdout}`);
  return Number(/Requests\/sec: +([\d.]+)/.exec(stdout)?.[1]);
}

/** A manifest that is held, by tag and by digest, with the logging that each has by default. */
export async function manifest(scene: Scene): Promise<Figure[]> {
  const image = makeImage([1_000, 2_000, 3_000]);
  for (const { url } of [scene.ours, scene.distribution]) {
    await createRegistryApi(url).pushImage("bench/manifest", "latest", image);
  }
  await scene.publish("manifest.json", image.manifest.bytes);
  const ask = existsSync(WRK)
    ? wrk
    : async (url: string) => {
        const job = { kind: "requests", url, connections: CONNECTIONS, seconds: SECONDS } as const;
        const [perSecond = Number.NaN] = await scene.client.run(job);
        return perSecond;
      };
  const note = existsSync(WRK)
    ? "load by wrk"
    : "load by a Node.js client, which may be the limit: wrk is not installed";
  const figure = (by: string, reference: string) =>
    measure({
      name: `manifest by ${by}, ${CONNECTIONS} connections`,
      unit: "requests/s",
      better: "higher",
      goals: [{ peer: "distribution", factor: 3 }],
      note,
      repetitions: 5,
      contenders: holders(scene, { path: `/v2/bench/manifest/manifests/${reference}`, file: "manifest.json", ask }),
    });
  return [await figure("tag", "latest"), await figure("digest", image.manifest.digest)];
}
