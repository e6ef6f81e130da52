import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AzureOptions, createAzureBlobStore } from "@cache-registry/storage/blob-store/azure";
import { sharedKeyHeader } from "@cache-registry/storage/blob-store/azure/authorization";
import { freePort } from "../../hack/cluster/free-port.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import type { ObjectStore } from "./object-stores.ts";
import { startStoreProcess } from "./store-server.ts";

const CONTAINER = "images";
export const AZURE_ACCOUNT = "testaccount";
export const AZURE_KEY = Buffer.from("the key of an account that is only for tests").toString("base64");

/** azurite on a temporary folder, with one container. */
export async function startAzureServer(): Promise<ObjectStore<AzureOptions> & { readonly endpoint: string }> {
  const { "azurite-blob": program = "" } = await ensureTools(["azurite-blob"], { log: () => {} });
  const directory = await mkdtemp(join(tmpdir(), "creg-azure-"));
  const keyFile = join(directory, "key");
  await writeFile(keyFile, AZURE_KEY);
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}/${AZURE_ACCOUNT}`;
  const address = ["--blobHost", "127.0.0.1", "--blobPort", String(port), "--location", join(directory, "objects")];
  const server = await startStoreProcess({
    command: [process.execPath, "--no-warnings", program, ...address, "--silent", "--disableTelemetry"],
    env: { AZURITE_ACCOUNTS: `${AZURE_ACCOUNT}:${AZURE_KEY}` },
    url: endpoint,
    stopWith: "SIGTERM",
  });
  const url = new URL(`${endpoint}/${CONTAINER}?restype=container`);
  const headers = { "x-ms-version": "2021-12-02", "x-ms-date": new Date().toUTCString() };
  const authorization = sharedKeyHeader(AZURE_ACCOUNT, AZURE_KEY, { method: "PUT", url, headers, length: 0 });
  const made = await fetch(url, { method: "PUT", headers: { ...headers, authorization } });
  if (!made.ok) throw new Error(`no container: ${made.status} ${await made.text()}`);
  const location = { account: AZURE_ACCOUNT, container: CONTAINER, endpoint };
  const credentials = { kind: "key", key: async () => AZURE_KEY } as const;
  return {
    ...server,
    name: "azure",
    endpoint,
    open: (options) => createAzureBlobStore({ location, credentials, ...options }),
    storage: (prefix, blobs) => ({
      blobs: {
        ...blobs,
        driver: "azure",
        azure: { account: AZURE_ACCOUNT, container: CONTAINER, endpoint, prefix, accountKeyFile: keyFile },
      },
    }),
    async dispose() {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
