import { expect, it } from "vitest";
import * as labels from "./labels.ts";

/** These names are in other people's manifests and selectors: a change here breaks them. */
it("keeps the names of the contract", () => {
  expect({ ...labels }).toEqual({
    API_GROUP: "cache-registry.enix.io",
    API_VERSION: "v1alpha1",
    POLICY_LABEL: "cache-registry.enix.io/image-caching-policy",
    MANAGED_LABEL: "cache-registry.enix.io/managed",
    ORIGINAL_IMAGES_ANNOTATION: "cache-registry.enix.io/original-images",
    PROXY_TAINT: "cache-registry.enix.io/proxy-not-ready",
    SKIPPED_IMAGES_ANNOTATION: "cache-registry.enix.io/skipped-images",
    MIRROR_POD_ANNOTATION: "kubernetes.io/config.mirror",
    CERTIFICATE_LABEL: "cache-registry.enix.io/certificate",
    DEFAULT_ENDPOINT: "localhost:7439",
  });
});
