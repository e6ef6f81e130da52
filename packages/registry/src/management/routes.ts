import { timingSafeEqual } from "node:crypto";
import { CodedError } from "@cache-registry/core/errors";
import { parsePlatform } from "@cache-registry/core/platform";
import type { SecretFile } from "@cache-registry/runtime/secret";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import type { Collector } from "../gc/collector.ts";
import type { Scrub } from "../maintenance/scrub.ts";
import { addScrubRoutes } from "../maintenance/scrub-routes.ts";
import { allowForStore } from "../routes/body.ts";
import { nextLink, pageOf } from "../routes/page.ts";
import { addContentRoutes } from "../transfer/content-routes.ts";
import type { ImportContent } from "../transfer/import-content.ts";
import type { Images } from "./images.ts";
import { Owner, parseInput, queryOf, referenceOf } from "./input.ts";

export type ManagementDeps = {
  readonly images: Images;
  readonly collector: Collector;
  readonly metadata: MetadataStore;
  /** Guards /api/v1; undefined on loopback without one. */
  readonly token: SecretFile | undefined;
  /** With many replicas: of the youngest. */
  readonly startedAt: () => Promise<Date>;
  readonly scrub: Scrub;
  /** What imports bring in. */
  readonly content: ImportContent;
  /** Bytes per second of a scrub that names no rate. */
  readonly scrubRate: number;
};

/** `PUT /api/v1/images/<reference>`. */
const Wish = z.strictObject({
  platforms: z
    .array(z.string().refine((text) => parsePlatform(text) !== undefined, 'expected "os/architecture[/variant]"'))
    .max(32)
    .default([]),
  pin: z.boolean().default(false),
  owner: Owner.optional(),
  credentials: z
    .array(z.strictObject({ username: z.string().min(1).max(1_024), password: z.string().max(65_536) }))
    .max(16)
    .optional(),
  refresh: z.boolean().default(false),
});
const DEFAULT_OWNER = "default";

const GcRequest = z.strictObject({ dryRun: z.boolean().default(false) });

/** The management API: what the controllers (and people) ask of the registry apart from pulling and pushing. */
export function addManagementRoutes(server: FastifyInstance, deps: ManagementDeps): void {
  const { images, collector, metadata } = deps;
  server.register(
    async (api) => {
      api.addHook("onRequest", (request) => requireToken(request, deps.token));

      api.put("/images/:reference", async (request, reply) => {
        const reference = referenceOf(request);
        const wish = parseInput(Wish, request.body ?? {});
        const { refresh, owner, ...rest } = wish;
        if (rest.credentials?.length) requirePrivacy(request);
        // First, so that the warm-up is of what the tag names now.
        if (refresh) await images.refresh(reference);
        // Whoever only refreshes an image does not become one of those who keep it.
        const wanted =
          !refresh || owner !== undefined || rest.pin || rest.platforms.length > 0 || rest.credentials !== undefined;
        if (wanted) await images.want(reference, { ...rest, owner: owner ?? DEFAULT_OWNER });
        return reply.code(202).send(await images.describe(reference));
      });
      api.get("/images/:reference", async (request) => {
        const description = await images.describe(referenceOf(request));
        if (!description) throw new CodedError("NOT_FOUND", "no such image");
        return description;
      });
      api.delete("/images/:reference", async (request, reply) => {
        await images.release(referenceOf(request), parseInput(Owner, queryOf(request).get("owner") ?? DEFAULT_OWNER));
        return reply.code(204).send();
      });
      api.get("/images", async (request, reply) => {
        const query = queryOf(request);
        const page = pageOf(query);
        const owner = query.get("owner");
        const found = await images.list({ ...page, ...(owner === null ? {} : { owner: parseInput(Owner, owner) }) });
        const last = found.at(-1);
        if (last && found.length === page.limit) {
          reply.header("link", nextLink("/api/v1/images", { limit: page.limit, last: last.reference }, { owner }));
        }
        return { images: found };
      });
      api.get("/stats", async () => ({
        startedAt: (await deps.startedAt()).toISOString(),
        ...(await metadata.usage()),
        reviewBacklog: (await metadata.reviewBacklog()).length,
      }));
      api.post("/gc", (request) => {
        // It looks at all that is stored before it answers.
        allowForStore(request.raw);
        return dryRunOf(request) ? collector.preview() : collector.fullPass();
      });
      api.get("/gc", async () => {
        const report = collector.lastReport();
        if (!report) throw new CodedError("NOT_FOUND", "no full pass and no dry run since the start");
        return report;
      });
      addContentRoutes(api, deps.content);
      addScrubRoutes(api, deps.scrub, deps.scrubRate);
    },
    { prefix: "/api/v1" },
  );
}

/** `?dryRun=true`, or the same in the body. */
function dryRunOf(request: FastifyRequest): boolean {
  const query = queryOf(request).get("dryRun");
  if (query === null) return parseInput(GcRequest, request.body ?? {}).dryRun;
  if (query === "true" || query === "false") return query === "true";
  throw new CodedError("BAD_REQUEST", "dryRun: expected true or false");
}

async function requireToken(request: FastifyRequest, token: SecretFile | undefined): Promise<void> {
  if (!token) return;
  const expected = Buffer.from(`Bearer ${await token.read()}`);
  const given = Buffer.from(request.headers.authorization ?? "");
  if (given.length === expected.length && timingSafeEqual(given, expected)) return;
  throw new CodedError("UNAUTHORIZED", "the management API needs the token of management.tokenFile", {
    headers: { "www-authenticate": "Bearer" },
  });
}

/** Credentials travel encrypted, or not beyond this machine. */
function requirePrivacy({ raw: { socket } }: FastifyRequest): void {
  if ("encrypted" in socket && socket.encrypted === true) return;
  if (isLoopbackAddress(socket.remoteAddress)) return;
  throw new CodedError("DENIED", "credentials are taken over HTTPS only: set management.tls");
}

function isLoopbackAddress(address = ""): boolean {
  return address === "::1" || /^(?:::ffff:)?127\./.test(address);
}
