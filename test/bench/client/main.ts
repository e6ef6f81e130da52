/** The client process: it has a core to itself where the machine has two, and never shares a heap with what it measures. */
import { arrivals } from "./arrivals.ts";
import { download, firstByte, pull, requests } from "./download.ts";
import type { Answer, Job } from "./jobs.ts";
import { latencies } from "./latency.ts";
import { push } from "./push.ts";
import { slowReaders } from "./slow-readers.ts";
import { streamPush } from "./stream-push.ts";

function run(job: Job): Promise<number[]> {
  switch (job.kind) {
    case "download":
      return download(job);
    case "requests":
      return requests(job);
    case "push":
      return push(job);
    case "stream":
      return streamPush(job);
    case "latencies":
      return latencies(job);
    case "arrivals":
      return arrivals(job);
    case "slowReaders":
      return slowReaders(job);
    case "pull":
      return pull(job);
    case "firstByte":
      return firstByte(job);
  }
}

process.on("message", (job: Job) => {
  const answer = (message: Answer) => process.send?.(message);
  run(job).then(
    (values) => answer({ values }),
    (error: unknown) => answer({ error: String(error) }),
  );
});
