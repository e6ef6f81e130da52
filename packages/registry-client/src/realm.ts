import { isIP } from "node:net";
import { hostOf } from "./address-policy.ts";

/**
 * To whom credentials may be shown. A registry names its token service itself, in the `realm` of a challenge; one that is
 * taken over could name any host and collect the credentials of every cache (CVE-2026-33540).
 */

/** Second-level labels under country domains that are no organisations: `example.co.uk`. */
const GENERIC_LABELS = new Set([
  "ac",
  "co",
  "com",
  "edu",
  "go",
  "gob",
  "gov",
  "gouv",
  "mil",
  "ne",
  "net",
  "nom",
  "or",
  "org",
]);

/** Domains whose sub-domains belong to different customers. */
const SHARED_SUFFIXES = [
  "amazonaws.com",
  "amazonaws.com.cn",
  "appspot.com",
  "azure-api.net",
  "azurecontainerapps.io",
  "azurecr.io",
  "azurefd.net",
  "azurewebsites.net",
  "cloudapp.azure.com",
  "cloudapp.net",
  "cloudfront.net",
  "digitaloceanspaces.com",
  "duckdns.org",
  "fly.dev",
  "github.io",
  "gitlab.io",
  "googleusercontent.com",
  "herokuapp.com",
  "hf.space",
  "jfrog.io",
  "netlify.app",
  "ngrok-free.app",
  "ngrok.app",
  "ngrok.io",
  "nip.io",
  "ondigitalocean.app",
  "onrender.com",
  "pages.dev",
  "pkg.dev",
  "r2.dev",
  "railway.app",
  "run.app",
  "sslip.io",
  "trafficmanager.net",
  "trycloudflare.com",
  "vercel.app",
  "web.app",
  "windows.net",
  "workers.dev",
];

function isShared(host: string): boolean {
  return SHARED_SUFFIXES.some((suffix) => host === suffix || host.endsWith(`.${suffix}`));
}

/** The part of a name that one organisation registers; the name itself where that cannot be told. */
export function registrableDomain(host: string): string {
  const labels = host.split(".");
  if (isIP(host) !== 0 || labels.length < 2 || isShared(host)) return host;
  // Services of a Kubernetes cluster, <service>.<namespace>.svc.<cluster domain>: a namespace is what one owner has.
  const service = labels.indexOf("svc");
  if (service >= 2) return labels.slice(service - 1).join(".");
  const [second = "", top = ""] = labels.slice(-2);
  const size = top.length === 2 && GENERIC_LABELS.has(second) ? 3 : 2;
  return labels.length < size ? host : labels.slice(-size).join(".");
}

export type RealmJudgement = {
  /** Where to ask; undefined: nowhere. */
  readonly url: URL | undefined;
  /** Does it belong to the registry, so that credentials may be shown to it? */
  readonly trusted: boolean;
};

const REFUSED: RealmJudgement = { url: undefined, trusted: false };

/**
 * Judges the realm of a bearer challenge. It must be https, or http where the registry itself is; whoever is outside the
 * registry's own domain is asked anonymously only, unless the user listed its host.
 */
export function judgeRealm(
  realm: string | undefined,
  endpoint: URL,
  listedHosts: readonly string[] = [],
): RealmJudgement {
  if (realm === undefined || !URL.canParse(realm)) return REFUSED;
  const url = new URL(realm);
  if (url.username !== "" || url.password !== "") return REFUSED;
  if (url.protocol !== "https:" && !(url.protocol === "http:" && endpoint.protocol === "http:")) return REFUSED;
  url.hash = "";
  const realmHost = hostOf(url);
  const registryHost = hostOf(endpoint);
  // docker.io's own pair (registry-1.docker.io, auth.docker.io) shares its domain like most.
  const own = realmHost === registryHost || registrableDomain(realmHost) === registrableDomain(registryHost);
  return { url, trusted: own || listedHosts.includes(url.host) };
}
