import { type Digest, parseDigest } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import { normalizeRegistry, normalizeRepository } from "@cache-registry/core/image-reference";
import { MAX_MANIFEST_BYTES } from "@cache-registry/core/manifest";
import { isRepositoryName, isTag } from "@cache-registry/core/repository-name";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { type UpstreamRepository, upstreamRepository } from "../content/repository.ts";
import { Owner, parseInput, queryOf, referenceOf } from "../management/input.ts";
import { bodyOf, readBody } from "../routes/body.ts";
import type { ImportContent } from "./import-content.ts";

const Pin = z.strictObject({ owner: Owner });

/**
 * `/api/v1/content`: how an import brings in what only an upstream could give. `?registry=&repository=` say whose it is.
 * HEAD tells what is here already (a blob of another repository is linked), PUT takes it, verified.
 */
export function addContentRoutes(api: FastifyInstance, content: ImportContent): void {
  api.addContentTypeParser("application/octet-stream", (_request, payload, done) => done(null, payload));

  api.head("/content/blobs/:digest", async (request, reply) => {
    const found = await content.hasBlob(repositoryOf(request), digestOf(request));
    return reply.code(found ? 200 : 404).send();
  });
  api.put("/content/blobs/:digest", async (request, reply) => {
    const repository = repositoryOf(request);
    await content.blob(repository, digestOf(request), bodyOf(request));
    return reply.code(201).send();
  });
  api.head("/content/manifests/:digest", async (request, reply) => {
    const found = await content.hasManifest(repositoryOf(request), digestOf(request));
    return reply.code(found ? 200 : 404).send();
  });
  api.put("/content/manifests/:digest", async (request, reply) => {
    const repository = repositoryOf(request);
    const query = queryOf(request);
    const tags = query.getAll("tag");
    if (!tags.every(isTag)) throw new CodedError("BAD_REQUEST", "tag: not a tag");
    const tooLarge = () => new CodedError("MANIFEST_INVALID", "the manifest is too large", { status: 413 });
    const bytes = await readBody(request, MAX_MANIFEST_BYTES, tooLarge);
    const mediaType = query.get("mediaType") ?? "";
    await content.manifest(repository, { digest: digestOf(request), bytes, mediaType, tags });
    return reply.code(201).send();
  });
  api.put("/content/images/:reference", async (request, reply) => {
    const reference = referenceOf(request);
    const repository = upstreamRepository(reference.registry, reference.repository);
    await content.pin(reference, repository, parseInput(Pin, request.body ?? {}).owner);
    return reply.code(204).send();
  });
}

function digestOf(request: FastifyRequest): Digest {
  return parseDigest((request.params as { digest: string }).digest);
}

function repositoryOf(request: FastifyRequest): UpstreamRepository {
  const query = queryOf(request);
  const registry = normalizeRegistry(query.get("registry") ?? "");
  if (registry === undefined) throw new CodedError("BAD_REQUEST", "registry: expected one as image references name it");
  const repository = normalizeRepository(registry, query.get("repository") ?? "");
  if (!isRepositoryName(repository)) throw new CodedError("NAME_INVALID");
  return upstreamRepository(registry, repository);
}
