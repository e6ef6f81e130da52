import type { BlobStore } from "@cache-registry/storage/blob-store/blob-store";
import type { ObjectStoreOptions } from "@cache-registry/storage/blob-store/object-store/store";
import type { StoreProcess } from "./store-server.ts";

/** A real object store with one bucket, and the driver for it. */
export type ObjectStore<Options extends ObjectStoreOptions = ObjectStoreOptions> = StoreProcess & {
  readonly name: string;
  /** Not started. */
  open(options: ObjectStoreOptions & Partial<Options>): BlobStore;
  /** `storage` of a registry's configuration: its objects below `prefix`. */
  storage(prefix: string, blobs?: object): object;
  dispose(): Promise<void>;
};
