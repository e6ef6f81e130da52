import type { Readable } from "node:stream";
import { isNotFound } from "./api-error.ts";
import { createConnectionSource } from "./kube-config.ts";
import type { KubeObject, ObjectList } from "./object.ts";
import { collectionPath, type ObjectName, objectPath, PODS, type Resource } from "./resource.ts";
import { createTransport, type KubeRequest, type Transport } from "./transport.ts";

export type CallOptions = { readonly signal?: AbortSignal; readonly timeout?: number };

export type ListOptions = CallOptions & {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Page size; go on with `continue` from the list's metadata. */
  readonly limit?: number;
  readonly continue?: string;
};

export type WatchOptions = CallOptions & {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly resourceVersion: string;
  /** After so many seconds the server ends the watch properly. */
  readonly timeoutSeconds: number;
};

export type ApplyOptions = CallOptions & { readonly fieldManager: string; readonly subresource?: string };

/** RFC 6902. `test` makes the whole patch fail, with 422, when the object is not what the writer took it for. */
export type PatchOperation =
  | { readonly op: "test" | "replace" | "add"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

/** https://kubernetes.io/docs/reference/using-api/api-concepts/ ("Preconditions" of DeleteOptions) */
export type Preconditions = { readonly uid?: string; readonly resourceVersion?: string };

/** The verbs of the Kubernetes API, typed by resource. All of them throw ApiError or a network error. */
export interface KubeClient {
  get<T extends KubeObject>(resource: Resource<T>, at: ObjectName, options?: CallOptions): Promise<T>;
  list<T extends KubeObject>(resource: Resource<T>, options?: ListOptions): Promise<ObjectList<T>>;
  /** Newline-separated watch events, bookmarks included. */
  watch<T extends KubeObject>(resource: Resource<T>, options: WatchOptions): Promise<Readable>;
  create<T extends KubeObject>(resource: Resource<T>, object: T, options?: CallOptions): Promise<T>;
  /** PUT: refused with 409 when the resource version is not the current one. */
  update<T extends KubeObject>(resource: Resource<T>, object: T, options?: CallOptions): Promise<T>;
  /** Server-side apply, taking over fields that others own. */
  apply<T extends KubeObject>(resource: Resource<T>, object: T, options: ApplyOptions): Promise<T>;
  /** JSON patch: changes a few fields and owns none. */
  patch<T extends KubeObject>(
    resource: Resource<T>,
    at: ObjectName,
    options: CallOptions & { readonly operations: readonly PatchOperation[] },
  ): Promise<T>;
  delete(
    resource: Resource<KubeObject>,
    at: ObjectName,
    options?: CallOptions & { preconditions?: Preconditions },
  ): Promise<void>;
  /** Does the API server have this group and version, such as `cert-manager.io/v1`? */
  serves(groupVersion: string, options?: CallOptions): Promise<boolean>;
  /**
   * Deletes a pod when the budgets of its application allow it.
   * https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/ @throws ApiError 429 when a budget says not now
   */
  evict(at: ObjectName, options?: CallOptions & { preconditions?: Preconditions }): Promise<void>;
  /** The namespace of the kubeconfig context or of the pod. */
  readonly namespace: string | undefined;
  close(): void;
}

export type ClientOptions = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly userAgent: string;
  readonly qps?: number;
};

/** @throws Error when neither KUBECONFIG nor a service account is there */
export function createClient(options: ClientOptions): KubeClient {
  const connections = createConnectionSource(options.env);
  return clientOver(createTransport({ ...options, connections }), connections.namespace);
}

/** The client on any transport. */
export function clientOver(transport: Transport, namespace?: string): KubeClient {
  // The one place where an answer of the API server gets its type: the server guarantees the shape of the kind.
  const typed = async <T>(request: KubeRequest): Promise<T> => (await transport.request(request)) as T;
  return {
    namespace,
    close: () => transport.close(),
    get: (resource, at, options) => typed({ ...call(options), method: "GET", path: objectPath(resource, at) }),
    list: async <T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}) => {
      const { namespace, labelSelector, fieldSelector, limit, continue: token } = options;
      const query = { labelSelector, fieldSelector, limit, continue: token };
      const path = collectionPath(resource, namespace);
      const list = await typed<ObjectList<T>>({ ...call(options), method: "GET", path, query });
      // Go servers print an empty list as null.
      return { metadata: list.metadata, items: list.items ?? [] };
    },
    watch: (resource, options) => {
      const { namespace, labelSelector, fieldSelector, resourceVersion, timeoutSeconds } = options;
      const query = { labelSelector, fieldSelector, resourceVersion, timeoutSeconds };
      return transport.stream({
        ...call(options),
        method: "GET",
        path: collectionPath(resource, namespace),
        query: { ...query, watch: true, allowWatchBookmarks: true },
      });
    },
    create: (resource, object, options) => {
      const path = collectionPath(resource, object.metadata.namespace);
      return typed({ ...call(options), method: "POST", path, body: object });
    },
    update: (resource, object, options) => {
      return typed({ ...call(options), method: "PUT", path: objectPath(resource, object.metadata), body: object });
    },
    apply: (resource, object, options) => {
      const { fieldManager, subresource } = options;
      return typed({
        ...call(options),
        method: "PATCH",
        path: objectPath(resource, object.metadata, subresource),
        query: { fieldManager, force: true },
        // JSON is YAML; the media type is what selects server-side apply.
        contentType: "application/apply-patch+yaml",
        body: object,
      });
    },
    patch: (resource, at, options) =>
      typed({
        ...call(options),
        method: "PATCH",
        path: objectPath(resource, at),
        contentType: "application/json-patch+json",
        body: options.operations,
      }),
    serves: async (groupVersion, options) => {
      try {
        await transport.request({ ...call(options), method: "GET", path: `/apis/${groupVersion}` });
        return true;
      } catch (error) {
        if (isNotFound(error)) return false;
        throw error;
      }
    },
    delete: async (resource, at, options = {}) => {
      const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions: options.preconditions };
      await transport.request({ ...call(options), method: "DELETE", path: objectPath(resource, at), body });
    },
    evict: async (at, options = {}) => {
      const deleteOptions = { apiVersion: "v1", kind: "DeleteOptions", preconditions: options.preconditions };
      const body = { apiVersion: "policy/v1", kind: "Eviction", metadata: at, deleteOptions };
      const path = objectPath(PODS, at, "eviction");
      await transport.request({ ...call(options), method: "POST", path, body, repeat429: false });
    },
  };
}

function call(options: CallOptions = {}): { signal?: AbortSignal; timeout?: number } {
  return { signal: options.signal, timeout: options.timeout };
}
