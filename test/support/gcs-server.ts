import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createGcsBlobStore, type GcsOptions } from "@cache-registry/storage/blob-store/gcs";
import { freePort } from "../../hack/cluster/free-port.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import type { ObjectStore } from "./object-stores.ts";
import { startStoreProcess } from "./store-server.ts";

const BUCKET = "images";

/** fake-gcs-server on a temporary folder, with one bucket. It wants no credentials. */
export async function startGcsServer(): Promise<ObjectStore<GcsOptions>> {
  const { "fake-gcs-server": program = "" } = await ensureTools(["fake-gcs-server"], { log: () => {} });
  const directory = await mkdtemp(join(tmpdir(), "creg-gcs-"));
  await mkdir(join(directory, "objects"));
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const folder = ["-backend", "filesystem", "-filesystem-root", join(directory, "objects")];
  const address = ["-scheme", "http", "-host", "127.0.0.1", "-port", String(port), "-public-host", `127.0.0.1:${port}`];
  const server = await startStoreProcess({
    command: [program, ...folder, ...address, "-log-level", "error"],
    url: `${endpoint}/_internal/healthcheck`,
  });
  const made = await fetch(`${endpoint}/storage/v1/b?project=test`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: BUCKET }),
  });
  if (!made.ok) throw new Error(`no bucket: ${made.status} ${await made.text()}`);
  const location = { endpoint, bucket: BUCKET };
  return {
    ...server,
    name: "gcs",
    open: (options) => createGcsBlobStore({ location, ...options }),
    storage: (prefix, blobs) => ({
      blobs: { ...blobs, driver: "gcs", gcs: { bucket: BUCKET, endpoint, prefix, anonymous: true } },
    }),
    async dispose() {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
