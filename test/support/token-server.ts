import { createSign, generateKeyPairSync, randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";

type Access = { readonly type: string; readonly name: string; readonly actions: readonly string[] };

export type TokenServerOptions = {
  /** Where distribution finds the public key. */
  readonly jwksFile: string;
  /** `name:password` of who may pull everything. */
  readonly users: () => readonly string[];
  readonly refreshTokens?: readonly string[];
  /** Repositories that anybody may pull. */
  readonly isPublic?: (repository: string) => boolean;
};

export type TokenServer = {
  /** The `auth` section of distribution that sends clients here. */
  readonly auth: object;
  /** Who asked, for what: `GET robot repository:a:pull`. */
  readonly asked: string[];
  /** A token for a test's own pushes. */
  issue(access: readonly Access[]): string;
  close(): Promise<void>;
};

const SERVICE = "registry.test";
const ISSUER = "test token server";

/** A token server by distribution's specification, in both its ways: GET with a password, POST with a refresh token. */
export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: "test", use: "sig", alg: "ES256" };
  await writeFile(options.jwksFile, JSON.stringify({ keys: [jwk] }));
  const asked: string[] = [];

  function issue(access: readonly Access[]): string {
    const now = Math.floor(Date.now() / 1000);
    const header = { typ: "JWT", alg: "ES256", kid: "test" };
    const claims = {
      iss: ISSUER,
      aud: SERVICE,
      sub: "",
      iat: now,
      nbf: now - 10,
      exp: now + 300,
      jti: randomUUID(),
      access,
    };
    const content = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    const signature = createSign("SHA256")
      .update(content)
      .sign({ key: privateKey, dsaEncoding: "ieee-p1363" }, "base64url");
    return `${content}.${signature}`;
  }

  function answer(response: ServerResponse, who: string | undefined, scopes: readonly string[]): void {
    const access = scopes.flatMap((scope): Access[] => {
      const [, type = "", name = "", actions = ""] = /^([a-z]+):(.+):([a-z,*]+)$/.exec(scope) ?? [];
      const allowed = who !== undefined || options.isPublic?.(name) === true;
      return allowed ? [{ type, name, actions: actions.split(",") }] : [];
    });
    const token = issue(access);
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ token, access_token: token, expires_in: 300 }));
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://token");
    const refuse = (status: number): unknown => response.writeHead(status).end("{}");
    if (request.method === "POST") {
      const form = new URLSearchParams(await text(request));
      const scopes = (form.get("scope") ?? "").split(" ");
      asked.push(`POST ${form.get("grant_type")} ${scopes.join(" ")}`);
      if (!options.refreshTokens?.includes(form.get("refresh_token") ?? "")) return void refuse(401);
      return answer(response, "token", scopes);
    }
    const { authorization = "" } = request.headers;
    const user = Buffer.from(authorization.replace(/^Basic /, ""), "base64").toString("utf8");
    const scopes = url.searchParams.getAll("scope");
    asked.push(`GET ${user.split(":")[0] || "anonymous"} ${scopes.join(" ")}`);
    if (authorization !== "" && !options.users().includes(user)) return void refuse(401);
    answer(response, authorization === "" ? undefined : user, scopes);
  }

  const server = createServer((request, response) => void serve(request, response).catch(() => response.destroy()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  const realm = `http://127.0.0.1:${port}/token`;
  return {
    auth: { token: { realm, service: SERVICE, issuer: ISSUER, jwks: options.jwksFile } },
    asked,
    issue,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
