import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { EMPTY_SHA256, encodeStrictly, presignedUrl, queryString, signedHeaders } from "./aws-signature.ts";

/** The examples of the Amazon S3 API reference, "Signature Calculations" and "Authenticating Requests: Query Parameters". */
const signing = {
  credentials: { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" },
  region: "us-east-1",
  service: "s3",
  now: new Date("2013-05-24T00:00:00Z"),
};
const bucket = "https://examplebucket.s3.amazonaws.com";
const welcome = createHash("sha256").update("Welcome to Amazon S3.").digest("hex");

type Example = {
  readonly what: string;
  readonly method?: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly payloadSha256?: string;
  readonly signature: string;
};

describe("AWS Signature Version 4", () => {
  const examples: readonly Example[] = [
    {
      what: "GET with a range",
      url: `${bucket}/test.txt`,
      headers: { range: "bytes=0-9" },
      signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    },
    {
      what: "PUT",
      method: "PUT",
      url: `${bucket}/${encodeStrictly("test$file.text")}`,
      headers: { date: "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY" },
      payloadSha256: welcome,
      signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    },
    {
      what: "GET of a sub-resource",
      url: `${bucket}/${queryString({ lifecycle: "" })}`,
      signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    },
    {
      what: "a list",
      url: `${bucket}/${queryString({ prefix: "J", "max-keys": "2" })}`,
      signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    },
  ];

  it.each(examples)("signs $what as published", ({
    method = "GET",
    url,
    headers = {},
    payloadSha256 = EMPTY_SHA256,
    signature,
  }) => {
    const signed = signedHeaders({ method, url: new URL(url), headers, payloadSha256 }, signing);
    expect(signed.authorization).toContain(
      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,",
    );
    expect(signed.authorization).toMatch(new RegExp(`,Signature=${signature}$`));
  });

  it("presigns as published", () => {
    const url = new URL(presignedUrl(new URL(`${bucket}/test.txt`), 86_400, signing));
    expect(url.searchParams.get("X-Amz-Signature")).toBe(
      "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
    );
    expect(url.searchParams.get("X-Amz-Expires")).toBe("86400");
  });

  it("sends and signs the token of temporary credentials", () => {
    const credentials = { ...signing.credentials, sessionToken: "the-token" };
    const request = { method: "GET", url: new URL(`${bucket}/a`), headers: {}, payloadSha256: EMPTY_SHA256 };
    const signed = signedHeaders(request, { ...signing, credentials });
    expect(signed["x-amz-security-token"]).toBe("the-token");
    expect(signed.authorization).toContain("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,");
    expect(presignedUrl(request.url, 60, { ...signing, credentials })).toContain("X-Amz-Security-Token=the-token");
  });

  it("encodes what encodeURIComponent leaves", () => {
    expect(encodeStrictly("a-b_c.d~!'()*/ ")).toBe("a-b_c.d~%21%27%28%29%2A%2F%20");
    expect(queryString({ b: "2", a: "1 2" })).toBe("?a=1%202&b=2");
    expect(queryString({})).toBe("");
  });
});
