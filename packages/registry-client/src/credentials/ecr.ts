import { parseJson } from "@cache-registry/core/json";
import { createAwsCredentials } from "@cache-registry/runtime/cloud-identity/aws-credentials";
import { awsEndpoint, signRequest } from "@cache-registry/runtime/cloud-identity/aws-sts";
import {
  type Environment,
  lifetimeOf,
  refusal,
  type SendCloudRequest,
  unusable,
} from "@cache-registry/runtime/cloud-identity/cloud-request";
import { createRenewed } from "@cache-registry/runtime/renewed";
import { z } from "zod";
import { decodeBasic } from "./identity.ts";
import type { HeldIdentity } from "./question.ts";

/** What the name of a private registry says: `<account>.dkr.ecr[-fips].<region>.amazonaws.com[.cn]`, or `.on.aws`. */
const NAME =
  /^\d{12}\.dkr[.-]ecr(-fips)?\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn)$/;

type Place = { readonly region: string; readonly domain: string; readonly api: string };

/** Where the API of a registry is. @throws IdentityError when the region is not known */
export function placeOf(registry: string, region: string | undefined, env: Environment): Place {
  const [, fips = "", named, suffix = ""] = NAME.exec(registry) ?? [];
  const chosen = region ?? named ?? (env.AWS_REGION || env.AWS_DEFAULT_REGION);
  if (!chosen) throw unusable(`the name ${registry} tells no region: the key region is needed`);
  const domain = suffix.endsWith(".cn") || chosen.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  const service = fips === "" ? "api.ecr" : "ecr-fips";
  return { region: chosen, domain, api: `https://${service}.${chosen}.${domain}/` };
}

const Answer = z.object({
  authorizationData: z.tuple([z.object({ authorizationToken: z.string(), expiresAt: z.number() })], z.unknown()),
});

export type EcrOptions = {
  readonly registry: string;
  readonly region?: string | undefined;
  readonly roleArn?: string | undefined;
  readonly send: SendCloudRequest;
  readonly env: Environment;
};

/** Amazon ECR, private registries: GetAuthorizationToken gives a user and password for twelve hours. */
export function createEcr({ registry, region, roleArn, send, env }: EcrOptions): HeldIdentity {
  const place = placeOf(registry, region, env);
  const url = awsEndpoint("ecr", place.api, env);
  const credentials = createAwsCredentials({ send, env, region: place.region, domain: place.domain, roleArn });
  return createRenewed({
    async obtain() {
      const headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
      };
      const signing = { credentials: await credentials.get(), region: place.region, service: "ecr" };
      const answer = await send(signRequest({ method: "POST", url, headers, body: "{}" }, signing));
      if (answer.status !== 200) {
        credentials.refuse(signing.credentials);
        throw refusal(url, answer);
      }
      const parsed = Answer.safeParse(parseJson(answer.text));
      const [data] = parsed.data?.authorizationData ?? [];
      const identity = data && decodeBasic(data.authorizationToken);
      if (!identity) throw unusable(`${url.host}: gave no token`);
      return { value: identity, lifetime: lifetimeOf(data.expiresAt, answer) };
    },
  });
}
