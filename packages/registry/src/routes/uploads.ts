import {
  DIGEST_ALGORITHMS,
  type DigestAlgorithm,
  isDigest,
  isDigestAlgorithm,
  parseDigest,
} from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";
import type { MetadataStore } from "@cache-registry/storage/metadata-store/metadata-store";
import type { FastifyReply, FastifyRequest } from "fastify";
import { isUpstream, type LocalRepository, type Repository } from "../content/repository.ts";
import type { MountBlob } from "../push/mount-blob.ts";
import type { UploadSessions } from "../push/upload-sessions.ts";
import { bodyOf } from "./body.ts";
import { type Exchange, type Methods, refusePush } from "./exchange.ts";

export type UploadEndpoint = { readonly id: string };

export type UploadRouteDeps = {
  readonly metadata: MetadataStore;
  readonly uploads: UploadSessions;
  readonly mount: MountBlob;
  /** The repository that the `from` of a mount names; it must be one that the caller may read. */
  readonly resolveName: (name: string) => Repository;
};

/** Distribution spec: `POST …/blobs/uploads/` begins a session, mounts a blob or takes it whole (end-4a, 4b, 11). */
export function uploadsRoutes(deps: UploadRouteDeps): Methods<object> {
  return {
    async POST(exchange) {
      const repository = localOnly(exchange.repository);
      const mount = exchange.query.get("mount");
      if (mount !== null && (await mountBlob(deps, { repository, query: exchange.query }, mount)))
        return created(exchange, mount);
      const digest = exchange.query.get("digest");
      const algorithm = algorithmOf(exchange.query);
      if (digest === null) return accepted(exchange, await deps.uploads.begin(repository, algorithm), 0, 202);
      await deps.uploads.receive(repository, { digest: parseDigest(digest), body: bodyOf(exchange.request) });
      return created(exchange, digest);
    },
  };
}

/** The session itself: status, chunk, last chunk, cancel (end-5, 6, 13, 14). */
export function uploadRoutes({ uploads }: UploadRouteDeps): Methods<UploadEndpoint> {
  return {
    async GET(exchange, { id }) {
      return accepted(exchange, id, await uploads.offset(localOnly(exchange.repository), id), 204);
    },
    async PATCH(exchange, { id }) {
      const { request } = exchange;
      const body = { body: bodyOf(request), from: contentRangeStart(request) };
      return accepted(exchange, id, await uploads.append(localOnly(exchange.repository), id, body), 202);
    },
    async PUT(exchange, { id }) {
      const { request, query } = exchange;
      const digest = query.get("digest");
      if (digest === null) throw new CodedError("DIGEST_INVALID", "the query parameter digest is missing");
      const body = { body: bodyOf(request), from: contentRangeStart(request), digest: parseDigest(digest) };
      await uploads.complete(localOnly(exchange.repository), id, body);
      return created(exchange, digest);
    },
    async DELETE({ repository, reply }, { id }) {
      await uploads.cancel(localOnly(repository), id);
      return reply.code(204).send();
    },
  };
}

function localOnly(repository: Repository): LocalRepository {
  refusePush(repository, (message) => new CodedError("UNSUPPORTED", message));
  if (isUpstream(repository)) throw new CodedError("UNSUPPORTED");
  return repository;
}

/** True when the blob is linked now. Without `from` any local repository will do; anything else falls back to a session. */
async function mountBlob(
  { metadata, resolveName, mount: link }: UploadRouteDeps,
  { repository, query }: { readonly repository: LocalRepository; readonly query: URLSearchParams },
  mount: string,
): Promise<boolean> {
  if (!isDigest(mount)) return false;
  const from = query.get("from");
  const source = from === null ? await metadata.findLocalLink(mount) : resolveName(from).name;
  if (source === undefined || !(await metadata.isLinked(source, mount))) return false;
  return link(repository, mount);
}

/** Spec, end-4c: what the blob's digest will be made with, so that it is hashed as it arrives. */
function algorithmOf(query: URLSearchParams): DigestAlgorithm {
  const algorithm = query.get("digest-algorithm") ?? "sha256";
  if (isDigestAlgorithm(algorithm)) return algorithm;
  const message = `digest-algorithm is not one of ${DIGEST_ALGORITHMS.join(", ")}`;
  throw new CodedError("DIGEST_INVALID", message, { detail: { algorithm: algorithm.slice(0, 100) } });
}

/** Where a chunk says it starts: `^[0-9]+-[0-9]+$` (spec), also RFC 9110's `bytes 0-1/2`. Undefined: at the end. */
function contentRangeStart(request: FastifyRequest): number | undefined {
  const header = request.headers["content-range"];
  if (header === undefined) return undefined;
  const match = /^(?:bytes )?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header);
  if (!match || Number(match[2]) < Number(match[1])) {
    throw new CodedError("BLOB_UPLOAD_INVALID", "Content-Range must be <start>-<end>", { status: 416 });
  }
  const length = request.headers["content-length"];
  if (length !== undefined && Number(length) !== Number(match[2]) - Number(match[1]) + 1) {
    throw new CodedError("SIZE_INVALID", "Content-Length does not match Content-Range");
  }
  return Number(match[1]);
}

function accepted({ reply, name }: Exchange, id: string, offset: number, status: 202 | 204): FastifyReply {
  return reply
    .code(status)
    .headers({
      location: `/v2/${name}/blobs/uploads/${id}`,
      // Spec: inclusive end of what is there; 0-0 also stands for nothing.
      range: `0-${Math.max(0, offset - 1)}`,
      "docker-upload-uuid": id,
      "oci-chunk-min-length": "1",
    })
    .send();
}

function created({ reply, name }: Exchange, digest: string): FastifyReply {
  return reply
    .code(201)
    .headers({ location: `/v2/${name}/blobs/${digest}`, "docker-content-digest": digest })
    .send();
}
