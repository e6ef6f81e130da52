import { DOCKER_HUB, normalizeRegistry } from "@cache-registry/core/image-reference";
import { z } from "zod";
import { type BasicIdentity, basicIdentity, decodeBasic, type Identity } from "./identity.ts";

/** How Docker's own tools write Docker Hub. */
const DOCKER_HUB_SERVER = "https://index.docker.io/v1/";

const field = z.string().optional().catch(undefined);
const Auth = z.object({ auth: field, username: field, password: field, identitytoken: field, registrytoken: field });
/** Docker's config.json, and the Secret type kubernetes.io/dockerconfigjson. Only what we use. */
const DockerConfig = z.object({
  auths: z.record(z.string(), Auth.catch({})).default({}),
  credHelpers: z.record(z.string(), z.string()).default({}),
  credsStore: z.string().optional(),
});

/** A key of the file: a host (labels may be `*`, as the kubelet reads it) and perhaps the beginning of a repository. */
type Place = { readonly host: string; readonly path: string };
type Placed<Value> = Place & { readonly value: Value };

export type DockerConfig = {
  readonly auths: readonly Placed<Identity>[];
  readonly helpers: readonly Placed<string>[];
  readonly store: string | undefined;
};

/** What the file says for one repository: an identity itself, or a helper to ask for a server. */
export type Finding =
  | { readonly kind: "identity"; readonly identity: Identity }
  | { readonly kind: "helper"; readonly name: string; readonly server: string };

function hostOf(written: string): string {
  return normalizeRegistry(written) ?? written.toLowerCase();
}

/** `https://index.docker.io/v1/` → docker.io; `harbor.local/team` → harbor.local and team. */
function placeOf(key: string): Place {
  const bare = key.trim().replace(/^https?:\/\//i, "");
  const [host = "", ...path] = bare.split("/").filter((part) => part !== "");
  // Version prefixes of the registry API, which logins once wrote.
  if (path[0] === "v1" || path[0] === "v2") path.shift();
  return { host: hostOf(host), path: path.join("/") };
}

function identityOf({
  auth,
  username,
  password,
  identitytoken,
  registrytoken,
}: z.output<typeof Auth>): Identity | undefined {
  if (registrytoken) return { kind: "registry-token", token: registrytoken };
  if (identitytoken) return { kind: "identity-token", token: identitytoken };
  if (username) return basicIdentity(username, password ?? "");
  // Docker once padded the text with NUL characters.
  const basic = auth ? decodeBasic(auth) : undefined;
  return basic && basicIdentity(basic.username, basic.password.replace(/\0+$/, ""));
}

function placed<From, To>(
  record: Readonly<Record<string, From>>,
  convert: (value: From) => To | undefined,
): Placed<To>[] {
  return Object.entries(record).flatMap(([key, from]) => {
    const value = convert(from);
    // An empty entry only says that the credentials are elsewhere, in `credsStore`.
    return value === undefined ? [] : [{ ...placeOf(key), value }];
  });
}

/** @throws Error that never quotes the file, whose every part may be a secret */
export function parseDockerConfig(text: string): DockerConfig {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Error("it is no JSON");
  }
  const parsed = DockerConfig.safeParse(json);
  if (!parsed.success)
    throw new Error(`it is no docker configuration (${String(parsed.error.issues[0]?.path[0] ?? "no object")})`);
  const { auths, credHelpers, credsStore } = parsed.data;
  return {
    auths: placed(auths, identityOf),
    helpers: placed(credHelpers, (name) => name || undefined),
    store: credsStore || undefined,
  };
}

function hostMatches(pattern: string, host: string): boolean {
  if (pattern === host) return true;
  if (!pattern.includes("*")) return false;
  const [labels, of] = [pattern.split("."), host.split(".")];
  return labels.length === of.length && labels.every((label, index) => labelMatches(label, of[index] ?? ""));
}

function labelMatches(pattern: string, label: string): boolean {
  if (!pattern.includes("*")) return pattern === label;
  const [start = "", ...rest] = pattern.split("*");
  const end = rest.at(-1) ?? "";
  // One asterisk is all that anybody writes; with more, what is between them is not compared.
  return label.length >= start.length + end.length && label.startsWith(start) && label.endsWith(end);
}

/** Whole components only: `team` is no prefix of `teamwork/app`. */
export function isPathPrefix(prefix: string, path: string): boolean {
  return prefix === "" || path === prefix || path.startsWith(`${prefix}/`);
}

/** The longest path first, and of equal ones the host that is written out. */
function allOf<Value>(all: readonly Placed<Value>[], host: string, repository: string): Placed<Value>[] {
  return all
    .filter((one) => hostMatches(one.host, host) && isPathPrefix(one.path, repository))
    .sort((a, b) => b.path.length - a.path.length || Number(a.host.includes("*")) - Number(b.host.includes("*")));
}

function bestOf<Value>(all: readonly Placed<Value>[], host: string, repository: string): Placed<Value> | undefined {
  return allOf(all, host, repository)[0];
}

/** The users and passwords for a repository, in the order in which the kubelet would try them. It knows no tokens and helpers. */
export function usersInDockerConfig(
  { auths }: Pick<DockerConfig, "auths">,
  { host, repository }: { readonly host: string; readonly repository: string },
): BasicIdentity[] {
  const identities = allOf(auths, hostOf(host), repository).map(({ value }) => value);
  return identities.filter((identity) => identity.kind === "basic");
}

/** As helpers know it. */
export function serverOf(host: string): string {
  return host === DOCKER_HUB ? DOCKER_HUB_SERVER : host;
}

export type Wanted = {
  /** Names of the registry, the best first: the host that is asked, and the name in image references. */
  readonly hosts: readonly string[];
  readonly repository: string;
};

/** What to try, in order. Helpers of single hosts go before what is written down, and the general store comes last. */
export function findInDockerConfig({ auths, helpers, store }: DockerConfig, { hosts, repository }: Wanted): Finding[] {
  const names = [...new Set(hosts.map(hostOf))];
  const ask = (name: string, host: string): Finding => ({ kind: "helper", name, server: serverOf(host) });
  const findings = names.flatMap((host): Finding[] => {
    const helper = bestOf(helpers, host, repository);
    const written = bestOf(auths, host, repository);
    return [
      ...(helper ? [ask(helper.value, host)] : []),
      ...(written ? [{ kind: "identity", identity: written.value } as const] : []),
    ];
  });
  return store === undefined ? findings : [...findings, ...names.map((host) => ask(store, host))];
}
