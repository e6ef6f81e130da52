import { duration, section } from "@cache-registry/runtime/config-types";
import { z } from "zod";

const objectName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, { error: "expected the name of a Kubernetes object" });

const servingSchema = z.strictObject({
  secret: objectName.describe("Secret in the controllers' own namespace that gets tls.crt, tls.key and ca.crt"),
  dnsNames: z.array(z.string().min(1).max(253)).min(1).describe("Names under which clients reach the server"),
  webhooks: z
    .array(objectName)
    .default([])
    .describe("MutatingWebhookConfigurations whose caBundle is kept equal to ca.crt"),
});
export type ServingConfig = z.output<typeof servingSchema>;

/** The certificates that the controllers make and renew themselves. */
export const certificatesSchema = section({
  mode: z
    .enum(["auto", "certManager", "selfManaged", "existingSecret"])
    .default("auto")
    .describe(
      "Who makes the certificates under `serving`: selfManaged, these controllers; auto, these controllers unless the API server has cert-manager's API; otherwise others, and nothing is done",
    ),
  duration: duration("90d").describe("selfManaged: how long a certificate is valid"),
  renewBefore: duration("30d").describe("selfManaged: how long before its end a certificate is replaced"),
  caDuration: duration("365d").describe(
    "selfManaged: how long the certificate authority is valid; it is replaced when less than `duration` is left",
  ),
  caSecret: objectName
    .default("cache-registry-ca")
    .describe("selfManaged: Secret of the certificate authority and its key, in the controllers' own namespace"),
  serving: z.array(servingSchema).default([]).describe("selfManaged: the certificates to make"),
})
  .refine(({ duration: whole, renewBefore }) => renewBefore > 0 && renewBefore < whole, {
    path: ["renewBefore"],
    error: "expected more than 0 and less than certificates.duration",
  })
  .refine(({ duration: whole, caDuration }) => caDuration >= 2 * whole, {
    path: ["caDuration"],
    error: "expected at least twice certificates.duration",
  })
  .refine(
    ({ caSecret, serving }) => {
      const names = [caSecret, ...serving.map(({ secret }) => secret)];
      return new Set(names).size === names.length;
    },
    { path: ["serving"], error: "expected a different Secret for each certificate, and another one in caSecret" },
  );
export type CertificatesConfig = z.output<typeof certificatesSchema>;
