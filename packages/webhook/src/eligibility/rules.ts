import type { WebhookConfig } from "../config.ts";
import { createImageMatcher, createPrefixMatcher, type ImageMatcher } from "./image-pattern.ts";

/** What the configuration says about eligibility, compiled once. */
export type EligibilityRules = {
  readonly endpoint: string;
  /** `apps/ReplicaSet`, `v1/ReplicationController`, …, and `none` for pods without a controller. */
  readonly owners: ReadonlySet<string>;
  /** Upstreams that the registry lists. */
  readonly registries: ReadonlySet<string>;
  /** For these the registry itself holds credentials. */
  readonly hasUpstreamCredentials: ImageMatcher;
  readonly isAllowed: ImageMatcher;
  readonly isDenied: ImageMatcher;
  readonly isPublic: ImageMatcher;
  readonly hasNodeCredentials: ImageMatcher;
  /** Namespaces whose private images are shared through the cache. */
  readonly sharedNamespaces: ReadonlySet<string>;
  /** Only pods that ask for it. */
  readonly optIn: boolean;
  readonly dryRun: boolean;
};

export function createEligibilityRules(config: WebhookConfig): EligibilityRules {
  const { images, privateImages } = config;
  return {
    endpoint: config.endpoint,
    owners: new Set(config.owners.allow),
    registries: new Set(config.registries),
    hasUpstreamCredentials: createPrefixMatcher(config.registriesWithCredentials),
    isAllowed: images.allow.length === 0 ? () => true : createImageMatcher(images.allow),
    isDenied: createImageMatcher(images.deny),
    isPublic: createImageMatcher(images.public),
    hasNodeCredentials: createImageMatcher(images.nodeCredentials),
    sharedNamespaces: new Set(privateImages.mode === "share" ? privateImages.namespaces : []),
    optIn: config.optIn,
    dryRun: config.dryRun,
  };
}
