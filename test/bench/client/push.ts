import { createHash, randomBytes } from "node:crypto";
import { Agent, type IncomingMessage, request } from "node:http";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";

type Push = {
  readonly base: string;
  readonly repository: string;
  readonly blobs: number;
  readonly size: number;
  readonly atOnce: number;
};

type Prepared = { readonly head: Buffer; readonly digest: string };

const HEAD_BYTES = 64;

/** Blobs that differ in their first bytes and share the rest, so that many large ones fit into memory. */
function prepare({ blobs, size }: Push): { tail: Buffer; prepared: Prepared[] } {
  const tail = randomBytes(size - HEAD_BYTES);
  const prepared = Array.from({ length: blobs }, () => {
    const head = randomBytes(HEAD_BYTES);
    return { head, digest: `sha256:${createHash("sha256").update(head).update(tail).digest("hex")}` };
  });
  return { tail, prepared };
}

type Send = {
  readonly agent: Agent;
  readonly method: string;
  /** All of it, or a stream of unknown length. */
  readonly body: readonly Buffer[] | Readable;
  readonly status: number;
};

export async function send(url: URL, { agent, method, body, status }: Send): Promise<IncomingMessage> {
  const headers = {
    "content-type": "application/octet-stream",
    ...(body instanceof Readable ? {} : { "content-length": body.reduce((sum, { length }) => sum + length, 0) }),
  };
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const asking = request(url, { method, agent, headers }, resolve).once("error", reject);
    if (body instanceof Readable) {
      body.pipe(asking);
      return;
    }
    for (const part of body) asking.write(part);
    asking.end();
  });
  const message = await text(answer);
  if (answer.statusCode !== status) throw new Error(`${method} ${url.href} answered ${answer.statusCode}: ${message}`);
  return answer;
}

export async function push(job: Push): Promise<number[]> {
  const { tail, prepared } = prepare(job);
  const agent = new Agent({ keepAlive: true, maxSockets: job.atOnce });
  const start = performance.now();
  let next = 0;
  const worker = async () => {
    for (let blob = prepared[next++]; blob; blob = prepared[next++]) {
      const uploads = new URL(`/v2/${job.repository}/blobs/uploads/`, job.base);
      const begun = await send(uploads, { agent, method: "POST", body: [], status: 202 });
      const location = new URL(begun.headers.location ?? "", job.base);
      location.searchParams.set("digest", blob.digest);
      await send(location, { agent, method: "PUT", body: [blob.head, tail], status: 201 });
    }
  };
  await Promise.all(Array.from({ length: job.atOnce }, worker));
  const seconds = (performance.now() - start) / 1000;
  agent.destroy();
  return [seconds];
}
