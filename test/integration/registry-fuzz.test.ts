import { createRandom } from "@cache-registry/core/testing/seeded-random";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeRequest } from "../fuzz/request-generator.ts";
import { type RawAnswer, rawRequest } from "../support/raw-http.ts";
import { createRegistryApi } from "../support/registry-api.ts";
import { type RegistryProcess, startRegistryProcess } from "../support/registry-process.ts";
import { makeImage } from "../support/test-content.ts";

/** 15,000 in the tests; `npm run soak` asks for more. The seed of a failure is in its message. */
const REQUESTS = Number(process.env.CREG_SOAK_FUZZ ?? 15_000);
const SEED = Number(process.env.CREG_FUZZ_SEED ?? Date.now() % 2 ** 31);
const TOGETHER = 8;

let registry: RegistryProcess;
beforeAll(async () => {
  registry = await startRegistryProcess({ upstreamPolicy: "listed", log: { level: "info", access: false } });
});
afterAll(() => registry?.dispose());

/** What is wrong with an answer, whatever the request was. */
function faultOf({ status, headers, body, cut }: RawAnswer, request: string): string | undefined {
  if (cut) return undefined;
  if (status >= 500) return `answered ${status}`;
  if (status < 400 || request.startsWith("HEAD") || body === "") return undefined;
  try {
    const { errors } = JSON.parse(body) as { errors: { code: string }[] };
    if (!/^[A-Z_]+$/.test(errors[0]?.code ?? "")) return `an error without a code: ${body}`;
  } catch {
    return `an error that is no JSON (${headers["content-type"]}): ${body.slice(0, 200)}`;
  }
  return undefined;
}

it(`${REQUESTS} requests of every kind leave the registry as it was (seed ${SEED})`, {
  timeout: 3_600_000,
}, async () => {
  const api = createRegistryApi(registry.url);
  const kept = makeImage([10_000]);
  await api.pushImage("kept/app", "v1", kept);
  const image = makeImage([300]);
  await api.pushImage("fuzz/app", "v1", image);
  const random = createRandom(SEED);
  const known = { repository: "fuzz/app", tag: "v1", image };
  const sessions: string[] = [];
  const statuses = new Map<number, number>();

  const started = performance.now();
  for (let sent = 0; sent < REQUESTS; sent += TOGETHER) {
    const batch = Array.from({ length: TOGETHER }, () => makeRequest(random, known, sessions));
    await Promise.all(
      batch.map(async (bytes) => {
        const request = bytes.toString("latin1");
        const answer = await rawRequest(registry.url, bytes, { timeout: 60_000, endAfter: 2_000 }).catch(
          (error: unknown) => {
            throw new Error(`seed ${SEED}: ${JSON.stringify(request.slice(0, 1_000))}`, { cause: error });
          },
        );
        const fault = faultOf(answer, request);
        if (fault) throw new Error(`seed ${SEED}: ${fault}\n${JSON.stringify(request.slice(0, 1_000))}`);
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        const { location } = answer.headers;
        if (answer.status === 202 && location) sessions.splice(random.below(20), 1, location);
      }),
    );
  }
  const counts = [...statuses].sort(([a], [b]) => a - b).map(([status, count]) => `${status || "cut"}: ${count}`);
  console.info(`${REQUESTS} requests in ${Math.round(performance.now() - started)} ms; ${counts.join(", ")}`);
  // Faults alone would prove little: some requests must have got through.
  for (const status of [200, 201, 202, 400, 404]) expect(statuses.get(status) ?? 0, `${status}`).toBeGreaterThan(0);

  expect(await api.get("kept/app/manifests/v1")).toEqual(kept.manifest.bytes);
  for (const { digest, bytes } of kept.blobs) expect(await api.get(`kept/app/blobs/${digest}`)).toEqual(bytes);
  expect((await fetch(`${registry.management}/readyz`)).status).toBe(200);
  expect(registry.residentBytes()).toBeLessThan(400 * 2 ** 20);
  // Nothing went wrong unseen: an error in the log is a fault that a client could provoke.
  const errors = registry
    .output()
    .split("\n")
    .filter((line) => /"level":(50|60|"error"|"fatal")/.test(line));
  expect(errors.slice(0, 3)).toEqual([]);
});
