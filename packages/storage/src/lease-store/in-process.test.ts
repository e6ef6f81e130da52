import { leaseStoreConformance } from "./conformance.ts";
import { createInProcessLeaseStore } from "./in-process.ts";

leaseStoreConformance("in-process", async () => {
  const store = createInProcessLeaseStore();
  await store.start();
  return [store, store];
});
