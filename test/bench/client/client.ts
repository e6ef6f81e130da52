import { fork } from "node:child_process";
import type { Answer, Job } from "./jobs.ts";

export type Client = {
  /** One at a time. @throws Error when the job failed */
  run(job: Job): Promise<number[]>;
  close(): void;
};

export function startClient(): Client {
  const child = fork(new URL("main.ts", import.meta.url));
  let waiting: PromiseWithResolvers<number[]> | undefined;
  child.on("message", (answer: Answer) => {
    if ("error" in answer) waiting?.reject(new Error(answer.error));
    else waiting?.resolve([...answer.values]);
  });
  child.on("exit", (code) => waiting?.reject(new Error(`the client process ended with ${code}`)));
  return {
    run(job) {
      waiting = Promise.withResolvers();
      child.send(job);
      return waiting.promise;
    },
    close() {
      child.disconnect();
    },
  };
}
