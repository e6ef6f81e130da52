import { messageOf } from "@cache-registry/core/errors";
import type { Logger } from "@cache-registry/runtime/logger";
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

type Trouble = {
  readonly registry: string;
  readonly what: string;
  readonly since: Date;
  readonly reason: string;
  /** The log tells of it: then it also tells of its end. */
  readonly logged: boolean;
};

const MAX_ENTRIES = 2_000;

const WHAT: Readonly<Partial<Record<UpstreamError["kind"], string>>> = {
  "denied-by-policy": "not asked",
  server: "failing",
  timeout: "not answering",
  unreachable: "not answering",
};

const keyOf = (registry: string, origin: string, resource: string): string =>
  JSON.stringify([registry, origin, resource]);

/** What comes and goes with every request is not told each time. Milliseconds. */
const LOG_INTERVAL_MS = 10_000;

export type UpstreamStatusOptions = {
  readonly logger?: Logger | undefined;
  /** The log tells of these only: others are named by requests. */
  readonly isListed?: (registry: string) => boolean;
  readonly now?: () => Date;
};

export function createUpstreamStatus(options: UpstreamStatusOptions = {}): UpstreamStatus {
  const { logger, isListed = () => true, now = () => new Date() } = options;
  const troubles = createRecentMap<string, Trouble>(MAX_ENTRIES);
  const loggedAt = createRecentMap<string, number>(MAX_ENTRIES);

  /** True when it is told. */
  function warn(key: string, { registry, origin, resource }: Place, told: { what: string; reason: string }): boolean {
    if (!isListed(registry) || now().getTime() - (loggedAt.get(key) ?? 0) < LOG_INTERVAL_MS) return false;
    loggedAt.set(key, now().getTime());
    logger?.warn({ upstream: registry, endpoint: origin, resource, reason: told.reason }, `upstream: ${told.what}`);
    return true;
  }

  /** A trouble that goes on began when it began. */
  function note(key: string, place: Place, { what, message }: { what: string; message: string }): void {
    const { registry } = place;
    const reason = message.replace(`${registry}: `, "");
    const known = troubles.get(key);
    const goesOn = known?.what === what;
    const logged = (goesOn && known.logged) || warn(key, place, { what, reason });
    troubles.set(key, { registry, what, since: goesOn ? known.since : now(), reason, logged });
  }

  function end(key: string, { registry, origin, resource }: Place): void {
    const known = troubles.get(key);
    troubles.delete(key);
    if (!known?.logged) return;
    const since = known.since.toISOString();
    logger?.info({ upstream: registry, endpoint: origin, resource, was: known.what, since }, "upstream works again");
  }

  function noteCredentials(place: Place, error: UpstreamError): void {
    const { message, status, cause } = error;
    const key = credentialsKey(place);
    if (status !== undefined) note(key, place, { what: "credentials refused", message });
    // Why they cannot be had is told to operators only; by contract it holds no secret either.
    else note(key, place, { what: "credentials missing", message: cause ? messageOf(cause) : message });
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
      end(keyOf(place.registry, place.origin, place.resource), place);
      if (!place.foreign) end(credentialsKey(place), place);
    },
    failed(place, error) {
      const { registry, origin, resource, foreign } = place;
      if (error.ofCredentials) {
        if (!foreign) noteCredentials(place, error);
        return;
      }
      if (error.kind === "rate-limited" && error.status !== undefined && !foreign) {
        const told = { what: "limits us", reason: `retry after ${error.retryAfter ?? "unknown"} ms` };
        warn(keyOf(registry, origin, "limit"), place, told);
      }
      const what = WHAT[error.kind];
      // Any other answer is one: it is there.
      if (what === undefined) this.succeeded(place);
      else note(keyOf(registry, origin, resource), place, { what, message: error.message });
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
