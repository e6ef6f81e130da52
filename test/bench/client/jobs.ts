import type { Arrivals } from "./arrivals.ts";

/** What the client process can be asked to do. Its answer to each is a list of numbers, as the job says. */
export type Job =
  /** Downloads `each` times per connection, one after the other, on kept connections → [seconds, body bytes]. */
  | { readonly kind: "download"; readonly url: string; readonly connections: number; readonly each: number }
  /** Asks for so many seconds on kept connections → [requests per second]. For machines without wrk. */
  | { readonly kind: "requests"; readonly url: string; readonly connections: number; readonly seconds: number }
  /** Pushes new random blobs with POST and PUT; hashed before the clock starts → [seconds]. */
  | {
      readonly kind: "push";
      readonly base: string;
      readonly repository: string;
      readonly blobs: number;
      readonly size: number;
      readonly atOnce: number;
    }
  /** Each client pulls manifest, then all blobs in parallel, on new connections → [seconds until all have all]. */
  | {
      readonly kind: "pull";
      readonly base: string;
      readonly repository: string;
      readonly reference: string;
      readonly clients: number;
    }
  /** Pushes one new blob of so many MiB as a stream that is hashed on the way → [seconds]. */
  | { readonly kind: "stream"; readonly base: string; readonly repository: string; readonly mebibytes: number }
  /** Asks for each in turn, with so many milliseconds between → the milliseconds of each answer. */
  | { readonly kind: "latencies"; readonly urls: readonly string[]; readonly seconds: number; readonly pause: number }
  /** Posts at random moments, so many per second → the milliseconds of each answer, from the moment that it was due. */
  | ({ readonly kind: "arrivals" } & Arrivals)
  /** Reads very slowly for so many seconds → [bytes taken, connections refused]. */
  | { readonly kind: "slowReaders"; readonly url: string; readonly connections: number; readonly seconds: number }
  /** A new connection, one GET → [milliseconds until the first byte of the body]. */
  | { readonly kind: "firstByte"; readonly url: string };

export type Answer = { readonly values: readonly number[] } | { readonly error: string };
