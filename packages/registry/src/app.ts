import { CodedError } from "@cache-registry/core/errors";
import type { TargetResolver } from "@cache-registry/registry-client/target";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { rememberOutcomes } from "./access/outcome.ts";
import type { Action, Authorizer } from "./auth/authorize.ts";
import { localRepository, type Repository, upstreamRepository } from "./content/repository.ts";
import type { BlobEndpoint } from "./routes/blobs.ts";
import type { Exchange, Methods } from "./routes/exchange.ts";
import type { ManifestEndpoint } from "./routes/manifests.ts";
import { type Endpoint, parsePath } from "./routes/path.ts";
import type { ReferrersEndpoint } from "./routes/referrers.ts";
import type { UploadEndpoint } from "./routes/uploads.ts";

export type AppDeps = {
  /** A bare server; the routes are added to it. */
  readonly server: FastifyInstance;
  readonly targets: TargetResolver;
  readonly authorizer: Authorizer;
  readonly routes: {
    readonly manifest: Methods<ManifestEndpoint>;
    readonly blob: Methods<BlobEndpoint>;
    readonly uploads: Methods<object>;
    readonly upload: Methods<UploadEndpoint>;
    readonly tags: Methods<object>;
    readonly referrers: Methods<ReferrersEndpoint>;
    readonly catalog: (reply: FastifyReply, query: URLSearchParams) => Promise<FastifyReply>;
  };
};

const READS = new Set(["GET", "HEAD"]);

/** The registry's HTTP surface: path → endpoint → repository → rights → handler. */
export function addRoutes({ server, targets, authorizer, routes }: AppDeps): void {
  // Bodies are read by the handlers: blobs are streamed, whatever content type the client claims.
  server.removeAllContentTypeParsers();
  rememberOutcomes(server);
  server.addContentTypeParser("*", (_request, payload, done) => done(null, payload));

  server.all("/v2", answer);
  server.all("/v2/*", answer);

  async function answer(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    reply.header("docker-distribution-api-version", "registry/2.0");
    const { pathname, query } = splitUrl(request.url);
    const endpoint = parsePath(pathname);
    const { authorization } = request.headers;
    if (endpoint?.kind === "ping") {
      requireMethod(request, reply, READS);
      await authorizer.ping(authorization);
      return reply.send({});
    }
    // The rights come first, so that a stranger learns nothing from the errors.
    await authorizer.authorize(actionOf(request, endpoint), authorization);
    if (!endpoint) throw new CodedError("NOT_FOUND", "no such endpoint of the distribution spec");
    if (endpoint.kind === "catalog") {
      requireMethod(request, reply, READS);
      return routes.catalog(reply, query);
    }
    const target = targets.resolve({ path: endpoint.name, ns: query.getAll("ns"), ...hostOf(request) });
    if (target.kind === "upstream" && target.byNamespace) reply.header("oci-namespace", target.registry);
    const repository = repositoryOf(target);
    return dispatch({ request, reply, repository, name: endpoint.name, query }, endpoint);
  }

  function dispatch(
    exchange: Exchange,
    endpoint: Exclude<Endpoint, { kind: "ping" | "catalog" }>,
  ): Promise<FastifyReply> {
    switch (endpoint.kind) {
      case "manifest":
        return run(routes.manifest, exchange, endpoint);
      case "blob":
        return run(routes.blob, exchange, endpoint);
      case "uploads":
        return run(routes.uploads, exchange, endpoint);
      case "upload":
        return run(routes.upload, exchange, endpoint);
      case "referrers":
        return run(routes.referrers, exchange, endpoint);
      case "tags":
        return run(routes.tags, exchange, endpoint);
    }
  }
}

function run<Data>(methods: Methods<Data>, exchange: Exchange, endpoint: Data): Promise<FastifyReply> {
  const handler = methods[exchange.request.method];
  if (handler) return handler(exchange, endpoint);
  requireMethod(exchange.request, exchange.reply, new Set(Object.keys(methods)));
  throw new CodedError("UNSUPPORTED");
}

function requireMethod(request: FastifyRequest, reply: FastifyReply, allowed: ReadonlySet<string>): void {
  if (allowed.has(request.method)) return;
  reply.header("allow", [...allowed].join(", "));
  throw new CodedError("UNSUPPORTED", `${request.method} is not supported here`);
}

function actionOf(request: FastifyRequest, endpoint: Endpoint | undefined): Action {
  return READS.has(request.method) && endpoint?.kind !== "upload" ? "pull" : "push";
}

export function repositoryOf(target: ReturnType<TargetResolver["resolve"]>): Repository {
  return target.kind === "local"
    ? localRepository(target.repository)
    : upstreamRepository(target.registry, target.repository);
}

function splitUrl(url: string): { pathname: string; query: URLSearchParams } {
  const mark = url.indexOf("?");
  return mark < 0
    ? { pathname: url, query: new URLSearchParams() }
    : { pathname: url.slice(0, mark), query: new URLSearchParams(url.slice(mark + 1)) };
}

function hostOf(request: FastifyRequest): { host?: string } {
  return request.headers.host === undefined ? {} : { host: request.headers.host };
}
