import type { BlobStore } from "./blob-store.ts";
import type { BlobStoreConfig } from "./config.ts";

/** The configured driver, not started. Imports only that driver. */
export async function openBlobStore(config: BlobStoreConfig): Promise<BlobStore> {
  switch (config.driver) {
    case "filesystem": {
      const { createFilesystemBlobStore } = await import("./filesystem.ts");
      return createFilesystemBlobStore({ path: config.filesystem.path });
    }
    case "memory": {
      const { createMemoryBlobStore } = await import("./memory.ts");
      return createMemoryBlobStore();
    }
  }
}
