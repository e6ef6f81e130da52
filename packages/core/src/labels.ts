/** Names that other people's manifests and selectors depend on. They are a contract: add, never rename. */
export const API_GROUP = "cache-registry.enix.io";
export const API_VERSION = "v1alpha1";

/** On a pod or a namespace: `ignore` opts out, `cache` opts in where a value asks for opt-in. */
export const POLICY_LABEL = `${API_GROUP}/image-caching-policy`;
/** Added by the webhook to pods whose images the controllers record. Value "true". */
export const MANAGED_LABEL = `${API_GROUP}/managed`;
/** JSON `{"<container>": "<image as the user wrote it>"}`; an image volume is `volume/<name>`. */
export const ORIGINAL_IMAGES_ANNOTATION = `${API_GROUP}/original-images`;
/** JSON `{"<container>": "<reason>"}` for images that were left as written. */
export const SKIPPED_IMAGES_ANNOTATION = `${API_GROUP}/skipped-images`;
/** On Secrets whose certificates the controllers make and renew: `authority` or `serving`. */
export const CERTIFICATE_LABEL = `${API_GROUP}/certificate`;
/** Set by the kubelet on the API copy of a static pod. */
export const MIRROR_POD_ANNOTATION = "kubernetes.io/config.mirror";

/** Key of the taint with which nodes may register, so that no pod is placed before the node's proxy is ready. */
export const PROXY_TAINT = `${API_GROUP}/proxy-not-ready`;

/** Where every node serves the cache. */
export const DEFAULT_ENDPOINT = "localhost:7439";
