import type { Renewed } from "@cache-registry/runtime/renewed";
import type { Upstream } from "../upstream.ts";
import type { Identity } from "./identity.ts";

/** Who are we at this endpoint, for this repository? */
export type CredentialQuestion = {
  readonly upstream: Upstream;
  readonly endpoint: URL;
  readonly repository: string;
  /** What was given before and refused: it is asked for anew where it was only held. */
  readonly refused?: Identity | undefined;
  readonly signal?: AbortSignal | undefined;
};

/** An identity that somebody else gives for some time. Undefined: anonymous. */
export type HeldIdentity = Renewed<Identity | undefined>;
