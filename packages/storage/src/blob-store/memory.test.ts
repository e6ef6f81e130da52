import { blobStoreConformance } from "./conformance.ts";
import { createMemoryBlobStore } from "./memory.ts";

blobStoreConformance("memory", async () => {
  const store = createMemoryBlobStore();
  await store.start();
  return store;
});
