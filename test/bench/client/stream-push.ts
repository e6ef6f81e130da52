import { createHash, randomBytes } from "node:crypto";
import { Agent } from "node:http";
import { Readable } from "node:stream";
import { send } from "./push.ts";

type StreamPush = { readonly base: string; readonly repository: string; readonly mebibytes: number };

/** POST, one PATCH of everything, PUT: as clients do that make the blob while they send it. */
export async function streamPush({ base, repository, mebibytes }: StreamPush): Promise<number[]> {
  const block = randomBytes(1024 * 1024);
  const hash = createHash("sha256");
  const agent = new Agent({ keepAlive: true });
  function* blocks() {
    for (let index = 0; index < mebibytes; index += 1) {
      hash.update(block);
      yield block;
    }
  }
  const start = performance.now();
  const uploads = new URL(`/v2/${repository}/blobs/uploads/`, base);
  const begun = await send(uploads, { agent, method: "POST", body: [], status: 202 });
  const location = new URL(begun.headers.location ?? "", base);
  await send(location, { agent, method: "PATCH", body: Readable.from(blocks()), status: 202 });
  location.searchParams.set("digest", `sha256:${hash.digest("hex")}`);
  await send(location, { agent, method: "PUT", body: [], status: 201 });
  agent.destroy();
  return [(performance.now() - start) / 1000];
}
