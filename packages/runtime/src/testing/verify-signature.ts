import { createHash } from "node:crypto";
import { signedHeaders } from "../cloud/aws-signature.ts";
import type { ServiceRequest } from "./scripted-service.ts";

export type ExpectedSigning = { readonly secretAccessKey: string; readonly region: string; readonly service: string };

/** For tests: signs what arrived with the secret of whoever signed, and compares. The body is what its hash says. */
export function isSigned(request: ServiceRequest, { secretAccessKey, region, service }: ExpectedSigning): boolean {
  const { authorization = "" } = request.headers;
  const [, accessKeyId = "", names = ""] = /Credential=([^/]+)\/.*SignedHeaders=([^,]+),/.exec(authorization) ?? [];
  const headers = Object.fromEntries(names.split(";").map((name) => [name, String(request.headers[name])]));
  const [, y, mo, d, h, mi, s] = /^(....)(..)(..)T(..)(..)(..)Z$/.exec(headers["x-amz-date"] ?? "") ?? [];
  const now = new Date(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`);
  if (Number.isNaN(now.getTime()) || Math.abs(now.getTime() - Date.now()) > 300_000) return false;
  const sessionToken = headers["x-amz-security-token"];
  const payloadSha256 = createHash("sha256").update(request.body).digest("hex");
  const { method, url } = request;
  const signing = { credentials: { accessKeyId, secretAccessKey, sessionToken }, region, service, now };
  return signedHeaders({ method, url, headers, payloadSha256 }, signing).authorization === authorization;
}
