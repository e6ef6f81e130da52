import { messageOf } from "@cache-registry/core/errors";
import { createRecentMap } from "../recent-map.ts";
import type { Upstream } from "../upstream.ts";
import type { UpstreamError } from "../upstream-error.ts";

/** A part of an upstream that works or does not: one resource of one endpoint. */
export type Place = {
  readonly registry: string;
  readonly origin: string;
  /** `manifest` or `blob`. */
  readonly resource: string;
  /** Asked with a caller's own credentials: how these fare says nothing of ours. */
  readonly foreign: boolean;
};

/** How the last questions went, for people. Nothing is asked for it. */
export type UpstreamStatus = {
  succeeded(place: Place): void;
  failed(place: Place, error: UpstreamError): void;
  /** Its configuration changed: what was wrong with the credentials before is no news. */
  forget(registry: string): void;
  /** What is wrong with its endpoints, in their order; empty: nothing that is known. */
  troublesOf(upstream: Upstream): string[];
};

type Trouble = { readonly registry: string; readonly what: string; readonly since: Date; readonly reason: string };

const MAX_ENTRIES = 2_000;

const WHAT: Readonly<Partial<Record<UpstreamError["kind"], string>>> = {
  "denied-by-policy": "not asked",
  server: "failing",
  timeout: "not answering",
  unreachable: "not answering",
};

const keyOf = (registry: string, origin: string, resource: string): string =>
  JSON.stringify([registry, origin, resource]);

export function createUpstreamStatus({ now = () => new Date() } = {}): UpstreamStatus {
  const troubles = createRecentMap<string, Trouble>(MAX_ENTRIES);

  /** A trouble that goes on began when it began. */
  function note(key: string, { registry, message }: Pick<UpstreamError, "registry" | "message">, what: string): void {
    const known = troubles.get(key);
    const since = known?.what === what ? known.since : now();
    troubles.set(key, { registry, what, since, reason: message.replace(`${registry}: `, "") });
  }

  function noteCredentials(place: Place, error: UpstreamError): void {
    const { registry, message, status, cause } = error;
    if (status !== undefined) note(credentialsKey(place), error, "credentials refused");
    // Why they cannot be had is told to operators only; by contract it holds no secret either.
    else note(credentialsKey(place), { registry, message: cause ? messageOf(cause) : message }, "credentials missing");
  }

  const credentialsKey = ({ registry, origin }: Place): string => keyOf(registry, origin, "credentials");

  function tell(endpoint: string, resources: readonly string[], registry: string): string[] {
    const { origin } = new URL(endpoint);
    const found = resources.flatMap((resource) => troubles.get(keyOf(registry, origin, resource)) ?? []);
    const texts = found.map(({ what, since, reason }) => `${what} since ${since.toISOString()}: ${reason}`);
    return [...new Set(texts)];
  }

  return {
    succeeded(place) {
      troubles.delete(keyOf(place.registry, place.origin, place.resource));
      if (!place.foreign) troubles.delete(credentialsKey(place));
    },
    failed(place, error) {
      const { registry, origin, resource, foreign } = place;
      if (error.ofCredentials) {
        if (!foreign) noteCredentials(place, error);
        return;
      }
      const what = WHAT[error.kind];
      // Any other answer is one: it is there.
      if (what === undefined) this.succeeded(place);
      else note(keyOf(registry, origin, resource), error, what);
    },
    forget(registry) {
      for (const [key, trouble] of [...troubles.entries()]) if (trouble.registry === registry) troubles.delete(key);
    },
    troublesOf({ registry, endpoints }) {
      return endpoints.flatMap((endpoint) => {
        const of = (...resources: string[]): string[] => tell(endpoint, resources, registry);
        const manifests = of("manifest");
        // What is true of all is not said twice.
        const blobs = manifests.length > 0 ? [] : of("blob").map((text) => `blobs: ${text}`);
        const all = [...manifests, ...blobs, ...of("credentials")];
        return endpoints.length === 1 ? all : all.map((text) => `${new URL(endpoint).host}: ${text}`);
      });
    },
  };
}
