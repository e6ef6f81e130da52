import { parentPort, workerData } from "node:worker_threads";
import { openOwned } from "./sqlite-file.ts";
import type { WriteRequest, WriterCommand, WriterNotice, WriterOptions } from "./sqlite-messages.ts";
import { createBatchRunner } from "./sqlite-writes/batch.ts";
import { createOperations } from "./sqlite-writes/operations.ts";

/**
 * The one thread that writes. `node:sqlite` is synchronous: an fsync or a checkpoint on the main thread would stall every
 * stream. While a transaction is on its way to the disk the next requests gather, and go together in the next one.
 */
const port = parentPort;
if (!port) throw new Error("sqlite-writer runs as a worker thread");

const notify = (notice: WriterNotice): void => port.postMessage(notice);
// A failure to open is thrown: it reaches the main thread as the worker's error.
const options = workerData as WriterOptions;
const owned = openOwned(options);
const batches = createBatchRunner(owned.db, createOperations(owned.db, options));

let waiting: WriteRequest[] = [];
let scheduled = false;

function flush(): void {
  scheduled = false;
  const requests = waiting;
  waiting = [];
  if (requests.length > 0) notify(batches.run(requests));
}

port.on("message", (command: WriterCommand) => {
  if (command === "close") {
    flush();
    owned.close();
    notify("closed");
    port.close();
    return;
  }
  waiting.push(command);
  if (scheduled) return;
  scheduled = true;
  // After the messages that have arrived already, so that all of them share the transaction.
  setImmediate(flush);
});

notify("ready");
