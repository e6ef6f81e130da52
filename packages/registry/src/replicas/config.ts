import { filePath, httpUrl, listenSchema } from "@cache-registry/runtime/config-types";
import { z } from "zod";

/** `replica`: how many replicas on one PostgreSQL database reach each other. */
export const replicaConfig = z.strictObject({
  address: httpUrl().describe(
    "Where the other replicas reach this one's `replica.listen`, such as http://10.0.0.7:5001: usually the pod's IP, by CREG_REPLICA__ADDRESS",
  ),
  listen: listenSchema({ host: "0.0.0.0", port: 5001 }),
  tokenFile: filePath().describe("Secret that all replicas share and no client knows"),
  caFile: filePath()
    .optional()
    .describe("With https in `address`: certificates that those of the others must lead to, PEM"),
});
export type ReplicaConfig = z.output<typeof replicaConfig>;
