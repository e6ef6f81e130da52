import { CodedError } from "@cache-registry/core/errors";
import type { Certificate } from "@cache-registry/runtime/certificate";
import type { Logger } from "@cache-registry/runtime/logger";
import type { Metrics } from "@cache-registry/runtime/metrics";
import { createServer } from "@cache-registry/runtime/server";
import type { FastifyInstance } from "fastify";
import { AdmissionReview } from "./admission-review.ts";
import type { Reviewer } from "./review-pod.ts";

/** An update brings the pod twice, and etcd holds objects of up to 1.5 MiB; quoted in JSON they grow. */
const BODY_LIMIT = 8 * 1024 * 1024;

export type AppDeps = {
  readonly review: Reviewer;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Missing only in tests: the API server speaks HTTPS. */
  readonly certificate?: Certificate;
};

/** `POST /mutate`: an AdmissionReview v1 in, its answer out; 400 for what is no review. */
export function createApp({ review, logger, metrics, certificate }: AppDeps): FastifyInstance {
  // The reviewer writes the one line per review.
  const server = createServer({
    logger,
    name: "webhook",
    certificate,
    metrics,
    accessLog: false,
    bodyLimit: BODY_LIMIT,
  });

  // Only JSON. The framework's own parser refuses keys such as `constructor`, which a pod's maps may hold; nothing here
  // merges objects.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("application/json", { parseAs: "string" }, async (_request: unknown, body: string) => {
    try {
      return JSON.parse(body) as unknown;
    } catch {
      throw new CodedError("BAD_REQUEST", "the body is not JSON");
    }
  });

  server.post("/mutate", async (request) => {
    const parsed = AdmissionReview.safeParse(request.body);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new CodedError("BAD_REQUEST", `not an AdmissionReview v1: ${issue?.path.join(".") || "body"}`);
    }
    return review(parsed.data.request);
  });
  return server;
}
