import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import type { TermDeps } from "../../packages/controllers/src/term.ts";
import type { CachedImage } from "../../packages/kube/src/cached-image.ts";
import type { KubeClient } from "../../packages/kube/src/client.ts";
import type { KubeObject } from "../../packages/kube/src/object.ts";
import { EVENTS, REPLICA_SETS, type Resource } from "../../packages/kube/src/resource.ts";
import { type ApiServer, startApiServer } from "./api-server.ts";
import { applyDefinition, clean, connect, type RunningTerm, recordOf, runTerm } from "./controllers.ts";
import { eventually } from "./eventually.ts";
import { type FakeManagementApi, startFakeManagementApi } from "./fake-management-api.ts";

/** One API server for a test file; a fresh registry, and nothing left of the last test, for each test. */
export type Bench = {
  readonly client: KubeClient;
  readonly registry: FakeManagementApi;
  /** Starts the controllers; they end with the test. */
  run(options?: Partial<TermDeps>): RunningTerm;
  phaseIs(reference: string, phase: string): Promise<CachedImage>;
  /** Reasons of the Events about an object, in the order of the alphabet. */
  eventReasons(name: string): Promise<string[]>;
};

export function useBench(): Bench {
  let server: ApiServer;
  let client: KubeClient;
  let registry: FakeManagementApi;
  let running: RunningTerm | undefined;

  beforeAll(async () => {
    server = await startApiServer();
    client = connect(server);
    await applyDefinition(client);
  });
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });
  beforeEach(async () => {
    registry = await startFakeManagementApi();
  });
  afterEach(async () => {
    await running?.stop();
    running = undefined;
    await registry.close();
    await clean(client, [REPLICA_SETS as Resource<KubeObject>]);
  });

  return {
    get client() {
      return client;
    },
    get registry() {
      return registry;
    },
    run(options) {
      running = runTerm(client, registry.url, options);
      return running;
    },
    phaseIs: (reference, phase) =>
      eventually(async () => {
        const record = await recordOf(client, reference);
        expect(record.status?.phase).toBe(phase);
        return record;
      }),
    async eventReasons(name) {
      type Event = KubeObject & { reason: string; regarding: { name: string } };
      const { items } = await client.list(EVENTS as Resource<Event>);
      const about = items.filter(({ regarding }) => regarding.name === name);
      return about.map(({ reason }) => reason).sort();
    },
  };
}
