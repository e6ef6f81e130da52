/** A server as a webhook's pod has it: our HTTPS server on files that a stand-in for the kubelet keeps up to date. */
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createCertificate } from "../../packages/runtime/src/certificate.ts";
import { silentLogger } from "../../packages/runtime/src/logger.ts";
import { createServer, listen } from "../../packages/runtime/src/server.ts";
import { eventually } from "./eventually.ts";

export type MountedPair = { readonly certificate: string; readonly key: string };

export interface WebhookReplica {
  readonly port: number;
  /** Admissions answered, each over a connection of its own. */
  readonly answered: number;
  /** The PEM texts of all certificates that were served. */
  readonly served: ReadonlySet<string>;
  stop(): Promise<void>;
}

/** `delay`: milliseconds that the kubelet is behind. */
export async function startWebhookReplica(options: {
  readonly secret: () => Promise<MountedPair>;
  readonly delay: number;
  readonly port?: number;
}): Promise<WebhookReplica> {
  const folder = await mkdtemp(join(tmpdir(), "creg-webhook-replica-"));
  let version = 0;
  let mounted = "";

  async function mount({ certificate, key }: MountedPair): Promise<void> {
    version += 1;
    const data = `v${version}`;
    await mkdir(join(folder, data));
    await writeFile(join(folder, data, "tls.crt"), certificate);
    await writeFile(join(folder, data, "tls.key"), key);
    await symlink(data, join(folder, "..data_tmp"));
    await rename(join(folder, "..data_tmp"), join(folder, "..data"));
    mounted = certificate;
  }

  const ending = new AbortController();
  async function follow(): Promise<void> {
    while (!ending.signal.aborted) {
      const pair = await options.secret().catch(() => undefined);
      if (pair !== undefined && pair.certificate !== mounted) {
        await sleep(options.delay);
        await mount(pair);
      }
      await sleep(50);
    }
  }

  await mount(await eventually(options.secret));
  for (const file of ["tls.crt", "tls.key"]) await symlink(join("..data", file), join(folder, file));
  const following = follow();
  const files = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key") };
  const logger = silentLogger();
  const certificate = await createCertificate({ ...files, name: "webhook", logger });
  const served = new Set<string>();
  let answered = 0;
  const server = createServer({ logger, name: "webhook", certificate, accessLog: false });
  server.post("/mutate", async (request, reply) => {
    answered += 1;
    served.add(certificate.pair().cert.toString());
    const { request: review } = request.body as { request: { uid: string } };
    // so that the API server shakes hands anew, and checks the certificate, each time
    reply.header("connection", "close");
    return { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid: review.uid, allowed: true } };
  });
  const { port } = await listen(server, { host: "127.0.0.1", port: options.port ?? 0 });
  return {
    port,
    get answered() {
      return answered;
    },
    served,
    async stop() {
      ending.abort();
      await following;
      await server.close();
      certificate.close();
      await rm(folder, { recursive: true });
    },
  };
}
