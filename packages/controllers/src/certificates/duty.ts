import { createBackoff, sleep } from "@cache-registry/runtime/backoff";
import { type Certificates, type CertificatesDeps, createCertificates } from "./certificates.ts";

/** The leader's duty towards certificates, term after term. */
export type CertificatesDuty = {
  /** Until the signal, whether or not there is anything to do. */
  run(signal: AbortSignal): Promise<void>;
  /** What keeps it from being done, if so. */
  warning(): string | undefined;
};

const CERT_MANAGER = "cert-manager.io/v1";

export function createCertificatesDuty(deps: CertificatesDeps): CertificatesDuty {
  const { client, rules, logger } = deps;
  let current: Certificates | undefined;

  /** `auto` is for those who write this configuration themselves: the chart has decided already when it renders it. */
  async function isOurs(signal: AbortSignal): Promise<boolean> {
    if (rules.serving.length === 0) return false;
    if (rules.mode !== "auto") return rules.mode === "selfManaged";
    const backoff = createBackoff({ initial: 500, max: 15_000 });
    while (!signal.aborted) {
      try {
        const others = await client.serves(CERT_MANAGER, { signal });
        logger.info({ certManager: others }, "certificates.mode auto: cert-manager's API looked for");
        return !others;
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: error }, "the API server cannot be asked for cert-manager");
        await sleep(backoff.next(), signal).catch(() => undefined);
      }
    }
    return false;
  }

  return {
    warning: () => current && (current.problem() ?? current.warning()),
    async run(signal) {
      if (!(await isOurs(signal))) return;
      current = createCertificates(deps);
      await current.run(signal).finally(() => {
        current = undefined;
      });
    },
  };
}
