import { WebhookConfig } from "../config.ts";
import { createEligibilityRules, type EligibilityRules } from "../eligibility/rules.ts";

/** A valid configuration with the given keys over the defaults. For tests. */
export function testConfig(keys: Readonly<Record<string, unknown>> = {}): WebhookConfig {
  return WebhookConfig.parse({ listen: { tls: { certFile: "tls.crt", keyFile: "tls.key" } }, ...keys });
}

export function testRules(keys: Readonly<Record<string, unknown>> = {}): EligibilityRules {
  return createEligibilityRules(testConfig(keys));
}
