import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { signedHeaders } from "@cache-registry/runtime/cloud/aws-signature";
import { freePort } from "../../hack/cluster/free-port.ts";
import { ensureTools } from "../../hack/tools/ensure.ts";
import { type StoreProcess, startStoreProcess } from "./store-server.ts";

export const S3_CREDENTIALS = { accessKeyId: "test-access-key", secretAccessKey: "test-secret-access-key" };
const BUCKET = "images";

/** versitygw on a temporary folder, with one bucket. Objects are files below `bucket`. */
export type S3Server = StoreProcess & {
  readonly location: { endpoint: string; region: string; bucket: string; pathStyle: boolean };
  /** The bucket's folder on the disk. */
  readonly bucket: string;
  /** `storage` of a registry's configuration: its objects below `prefix`, the credentials in files. */
  storage(prefix: string, blobs?: object): object;
  /** A signed request. `path` begins with the bucket. */
  request(method: string, path: string): Promise<Response>;
  dispose(): Promise<void>;
};

export async function startS3Server(): Promise<S3Server> {
  const { versitygw = "" } = await ensureTools(["versitygw"], { log: () => {} });
  const directory = await mkdtemp(join(tmpdir(), "creg-s3-"));
  await mkdir(join(directory, "objects"));
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const { accessKeyId: ROOT_ACCESS_KEY, secretAccessKey: ROOT_SECRET_KEY } = S3_CREDENTIALS;
  const args = ["--port", `127.0.0.1:${port}`, "--keep-alive", "--quiet", "--health", "/health"];

  async function request(method: string, path: string): Promise<Response> {
    const url = new URL(`/${path}`, endpoint);
    const payloadSha256 = createHash("sha256").digest("hex");
    const signing = { credentials: S3_CREDENTIALS, region: "us-east-1", service: "s3", now: new Date() };
    const { host: _, ...headers } = signedHeaders({ method, url, headers: {}, payloadSha256 }, signing);
    return fetch(url, { method, headers });
  }

  const file = (name: string) => join(directory, name);
  await writeFile(file("id"), S3_CREDENTIALS.accessKeyId);
  await writeFile(file("secret"), S3_CREDENTIALS.secretAccessKey);
  const server = await startStoreProcess({
    command: [versitygw, ...args, "posix", join(directory, "objects")],
    env: { ROOT_ACCESS_KEY, ROOT_SECRET_KEY },
    url: `${endpoint}/health`,
  });
  const made = await request("PUT", BUCKET);
  if (!made.ok) throw new Error(`no bucket: ${made.status} ${await made.text()}`);
  return {
    location: { endpoint, region: "us-east-1", bucket: BUCKET, pathStyle: true },
    bucket: join(directory, "objects", BUCKET),
    storage: (prefix, blobs) => ({
      blobs: {
        ...blobs,
        driver: "s3",
        s3: { bucket: BUCKET, endpoint, prefix, accessKeyIdFile: file("id"), secretAccessKeyFile: file("secret") },
      },
    }),
    request,
    ...server,
    async dispose() {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
