import { createSingleFlight } from "../single-flight.ts";

export type AccessToken = {
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
};

/** Bearer tokens of a cloud's identity service, kept until shortly before they expire. */
export type TokenSource = {
  /**
   * One request at a time, whoever asks. While a held token is valid, a failure to renew it is not told.
   * @throws IdentityError
   */
  token(): Promise<AccessToken>;
  /** The service refused it: the next call asks for another. */
  forget(value: string): void;
};

/** No token. Names no secret. */
export class IdentityError extends Error {
  override readonly name = "IdentityError";
  /** May the same request succeed in a moment? */
  readonly transient: boolean;

  constructor(message: string, { transient, cause }: { readonly transient: boolean; readonly cause?: unknown }) {
    super(message, { cause });
    this.transient = transient;
  }
}

/** Metadata servers hand out the same token until 5 minutes before its end: no use in asking sooner. */
const RENEW_BEFORE_MS = 225_000;
/** After a failure to renew, while the held token is valid. */
const RENEW_AGAIN_MS = 10_000;
/** With less than this left a caller waits for the renewal; with more it goes on with what is held. */
const WAIT_MS = 60_000;

export function createTokenSource(
  acquire: () => Promise<AccessToken>,
  { now = Date.now }: { readonly now?: () => number } = {},
): TokenSource {
  const flight = createSingleFlight<AccessToken>();
  let held: AccessToken | undefined;
  let renewAt = 0;

  async function renew(): Promise<AccessToken> {
    try {
      held = await acquire();
      renewAt = held.expiresAt - RENEW_BEFORE_MS;
      return held;
    } catch (error) {
      if (!held || held.expiresAt <= now()) throw error;
      renewAt = now() + RENEW_AGAIN_MS;
      return held;
    }
  }

  return {
    async token() {
      if (held && now() < Math.min(renewAt, held.expiresAt)) return held;
      if (!held || held.expiresAt - now() < WAIT_MS) return flight.run("token", renew);
      void flight.run("token", renew).catch(() => undefined);
      return held;
    },
    forget(value) {
      if (held?.value === value) held = undefined;
    },
  };
}
