/** For tests: a body that sends texts, waits and breaks off as told. */
export async function* bodyOf(...parts: (string | Promise<unknown> | Error)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (part instanceof Error) throw part;
    if (typeof part === "string") yield Buffer.from(part);
    else await part;
  }
}
