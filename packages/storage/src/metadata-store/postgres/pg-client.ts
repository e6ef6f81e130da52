import type { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";
import type { Client } from "pg";
import { ConnectionLostError } from "./errors.ts";

/** What pg does not show: its own connection. */
function connectionOf(client: Client): EventEmitter & { readonly stream: Duplex } {
  return (client as unknown as { connection: EventEmitter & { readonly stream: Duplex } }).connection;
}

/** Not `end`, which would wait for the answers that do not come: what is pending is rejected. */
export function breakConnection(client: Client): void {
  connectionOf(client).stream.destroy();
}

/** Every message of the server, those of the beginning too: it lives, however long a whole answer takes it. */
export function onServerMessage(client: Client, heard: (kind: { readonly isError: boolean }) => void): void {
  connectionOf(client).on("message", ({ name }: { name: string }) => heard({ isError: name === "error" }));
}

export type ConnectLimits = {
  readonly milliseconds: number;
  /** By when the server has to have said something at all; then it may take its time. Milliseconds. */
  readonly firstWord?: number;
  /** Nobody wants the connection any more. */
  readonly signal?: AbortSignal | undefined;
};

/** Connects and sends `settings`. @throws ConnectionLostError when that took too long, else what the server or the network says */
export async function connectWithin(
  client: Client,
  settings: string,
  { milliseconds, firstWord = milliseconds, signal }: ConnectLimits,
): Promise<void> {
  let late: ConnectionLostError | undefined;
  let over = false;
  let heard = false;
  const giveUp = (): void => {
    if (over) return;
    late ??= new ConnectionLostError(`no connection within ${heard ? milliseconds : firstWord} ms`);
    breakConnection(client);
  };
  onServerMessage(client, () => {
    heard = true;
  });
  // After the answers that have arrived already, should this process have been busy itself.
  const timers = [
    setTimeout(() => setImmediate(giveUp), milliseconds),
    setTimeout(() => setImmediate(() => heard || giveUp()), firstWord),
  ];
  signal?.addEventListener("abort", giveUp);
  try {
    await client.connect();
    await client.query(settings);
  } catch (error) {
    throw late ?? error;
  } finally {
    over = true;
    for (const timer of timers) clearTimeout(timer);
    signal?.removeEventListener("abort", giveUp);
  }
}
