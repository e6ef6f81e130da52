import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hash } from "bcryptjs";
import { type Registry, startRegistry } from "../../hack/cluster/registry.ts";
import { makeTestImage, pushTestImage } from "../../hack/cluster/test-image.ts";
import type { Stage } from "../../hack/stage/stage.ts";

export interface PrivateUpstream {
  /** As pods and the node reach it. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
  stop(): Promise<void>;
}

/** A registry that gives its one image to who can log in only. */
export async function startPrivateUpstream({ cluster }: Stage, image: string): Promise<PrivateUpstream> {
  const log = (): void => undefined;
  const dir = join(cluster.logs, "..", "private-upstream");
  const host = cluster.bridgeAddress;
  const [username, password] = ["robot", "known-to-the-pod-alone"];
  await mkdir(dir, { recursive: true });
  const htpasswd = join(dir, "htpasswd");
  await writeFile(htpasswd, `${username}:${await hash(password, 5)}\n`);
  const open = await startRegistry({ dir, host, log });
  const made = await makeTestImage({ directory: join(dir, "image"), seed: image, log });
  await pushTestImage(made, `${open.address}/${image}`, { log });
  await open.stop();
  const auth = { htpasswd: { realm: "private", path: htpasswd } };
  const closed: Registry = await startRegistry({ dir, host, port: open.port, auth, log });
  return {
    url: closed.url,
    username,
    password,
    async stop() {
      await closed.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
