import { isDigest } from "@cache-registry/core/digest";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { parseInput } from "../management/input.ts";
import type { Scrub } from "./scrub.ts";

/** `POST /api/v1/scrub`. Rate in bytes per second. */
const ScrubRequest = z.strictObject({
  rate: z.int().min(1, "at least 1 byte per second").optional(),
  after: z
    .string()
    .refine((text) => isDigest(text), "expected a digest")
    .optional(),
});

/** Starts or joins a scrub, says how far it is, stops it. */
export function addScrubRoutes(api: FastifyInstance, scrub: Scrub, defaultRate: number | undefined): void {
  api.post("/scrub", async (request, reply) =>
    reply.code(202).send(scrub.start({ rate: defaultRate, ...parseInput(ScrubRequest, request.body ?? {}) })),
  );
  api.get("/scrub", async () => scrub.status());
  api.delete("/scrub", async () => scrub.cancel());
}
