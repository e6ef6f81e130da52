import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import {
  type AwsCredentials,
  presignedUrl,
  type Signing,
  signedHeaders,
} from "@cache-registry/runtime/cloud/aws-signature";
import { S3_CREDENTIALS, type S3Server } from "./s3-server.ts";

export type Session = Required<AwsCredentials> & { readonly expiresAt: number };

/** What S3 has and versitygw has not: temporary credentials, which are checked and exchanged for its own. */
export type S3Sessions = {
  readonly endpoint: string;
  /** By access key id. */
  readonly sessions: Map<string, Session>;
  /** Codes of what was refused. */
  readonly refused: string[];
  close(): Promise<void>;
};

const REGION = "us-east-1";

function dateOf(timestamp: string): Date {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(timestamp) ?? [];
  return new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

type Claim = { readonly accessKeyId: string; readonly token: string | undefined; readonly date: string };

/** In the query or in the headers ("Authenticating Requests"). */
function claimOf({ headers }: IncomingMessage, { searchParams }: URL): Claim {
  const credential =
    searchParams.get("X-Amz-Credential") ?? /Credential=([^,]+)/.exec(headers.authorization ?? "")?.[1];
  return {
    accessKeyId: credential?.split("/")[0] ?? "",
    token: searchParams.get("X-Amz-Security-Token") ?? headers["x-amz-security-token"]?.toString(),
    date: searchParams.get("X-Amz-Date") ?? String(headers["x-amz-date"]),
  };
}

/** Signs as the client must have signed, and compares. */
function isSignedWith(session: Session, request: IncomingMessage, url: URL): boolean {
  const now = dateOf(claimOf(request, url).date);
  const signing: Signing = { credentials: session, region: REGION, service: "s3", now };
  if (url.searchParams.has("X-Amz-Signature")) {
    const bare = new URL(url.pathname, url);
    return presignedUrl(bare, Number(url.searchParams.get("X-Amz-Expires")), signing) === url.href;
  }
  const { authorization = "" } = request.headers;
  const names = /SignedHeaders=([^,]+)/.exec(authorization)?.[1]?.split(";") ?? [];
  const headers = Object.fromEntries(names.map((name) => [name, String(request.headers[name])]));
  const payloadSha256 = String(request.headers["x-amz-content-sha256"]);
  return (
    signedHeaders({ method: request.method ?? "", url, headers, payloadSha256 }, signing).authorization ===
    authorization
  );
}

export async function startS3Sessions(s3: S3Server): Promise<S3Sessions> {
  const sessions = new Map<string, Session>();
  const refused: string[] = [];

  function refusalOf(request: IncomingMessage, url: URL): readonly [number, string] | undefined {
    const { accessKeyId, token } = claimOf(request, url);
    const session = sessions.get(accessKeyId);
    if (!session) return [403, "InvalidAccessKeyId"];
    if (token !== session.sessionToken) return [400, "InvalidToken"];
    if (session.expiresAt < Date.now()) return [400, "ExpiredToken"];
    return isSignedWith(session, request, url) ? undefined : [403, "SignatureDoesNotMatch"];
  }

  function forward(request: IncomingMessage, response: ServerResponse, url: URL): void {
    const target = new URL(url.pathname, s3.location.endpoint);
    const isPresigned = url.searchParams.has("X-Amz-Signature");
    if (!isPresigned) target.search = url.search;
    const { method = "", headers } = request;
    const payloadSha256 = isPresigned ? "UNSIGNED-PAYLOAD" : String(headers["x-amz-content-sha256"]);
    const signing = { credentials: S3_CREDENTIALS, region: REGION, service: "s3", now: new Date() };
    const kept = Object.entries(headers).filter(([name]) => ["range", "x-amz-copy-source", "if-match"].includes(name));
    const signable = {
      method,
      url: target,
      headers: Object.fromEntries(kept) as Record<string, string>,
      payloadSha256,
    };
    const length = headers["content-length"];
    const outgoing = httpRequest(target, {
      method,
      headers: { ...signedHeaders(signable, signing), ...(length === undefined ? {} : { "content-length": length }) },
    });
    outgoing.on("response", (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    outgoing.on("error", () => response.destroy());
    response.on("close", () => outgoing.destroy());
    request.pipe(outgoing);
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", `http://${request.headers.host}`);
    const [status, code = ""] = refusalOf(request, url) ?? [];
    if (status === undefined) return forward(request, response, url);
    refused.push(code);
    request.resume();
    response.writeHead(status).end(request.method === "HEAD" ? "" : `<Error><Code>${code}</Code></Error>`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    endpoint: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
    sessions,
    refused,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
