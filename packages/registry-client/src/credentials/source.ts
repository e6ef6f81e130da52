import { messageOf } from "@cache-registry/core/errors";
import { createSecretFile } from "@cache-registry/runtime/secret";
import type { CredentialsConfig, CredentialsEntry } from "./config.ts";
import { type DockerConfig, findInDockerConfig, isPathPrefix, parseDockerConfig, serverOf } from "./docker-config.ts";
import { createHelper, isHelperName } from "./helper.ts";
import { basicIdentity, type Identity } from "./identity.ts";
import { createProvider, type ProviderDeps } from "./provider.ts";
import type { CredentialQuestion, HeldIdentity } from "./question.ts";

export type CredentialSource = {
  /** Undefined: anonymous. @throws Error without secrets, naming what cannot be read or asked, or the signal's reason */
  read(question: CredentialQuestion): Promise<Identity | undefined>;
};

async function readHeld(held: HeldIdentity, { refused, signal }: CredentialQuestion): Promise<Identity | undefined> {
  if (refused !== undefined) held.refuse(refused);
  return held.get(signal);
}

function createPairSource({ username, password, usernameFile, passwordFile }: CredentialsEntry): CredentialSource {
  const name = usernameFile === undefined ? undefined : createSecretFile(usernameFile);
  const secret = passwordFile === undefined ? undefined : createSecretFile(passwordFile);
  return {
    read: async () =>
      basicIdentity((await name?.read()) ?? username ?? "", (await secret?.read()) ?? password?.reveal() ?? ""),
  };
}

/** One helper for each server that it is asked for. */
function createHelpers(): (name: string, server: string) => HeldIdentity {
  const helpers = new Map<string, HeldIdentity>();
  return (name, server) => {
    const key = `${name} ${server}`;
    const helper = helpers.get(key) ?? createHelper({ name, server });
    helpers.set(key, helper);
    return helper;
  };
}

function createHelperSource(name: string): CredentialSource {
  const helperOf = createHelpers();
  return { read: (question) => readHeld(helperOf(name, serverOf(question.upstream.registry)), question) };
}

function createDockerConfigSource(path: string): CredentialSource {
  const file = createSecretFile(path);
  const helperOf = createHelpers();
  let held: { readonly text: string; readonly config: DockerConfig } | undefined;

  async function readConfig(): Promise<DockerConfig> {
    const text = await file.read();
    if (held?.text === text) return held.config;
    try {
      held = { text, config: parseDockerConfig(text) };
      return held.config;
    } catch (error) {
      throw new Error(`cannot use ${path}: ${messageOf(error)}`);
    }
  }

  return {
    async read(question) {
      const { endpoint, upstream, repository } = question;
      const findings = findInDockerConfig(await readConfig(), {
        hosts: [endpoint.host, upstream.registry],
        repository,
      });
      for (const finding of findings) {
        if (finding.kind === "identity") return finding.identity;
        const { name, server } = finding;
        if (!isHelperName(name)) throw new Error(`${path} names a credential helper with a name that is not allowed`);
        const identity = await readHeld(helperOf(name, server), question);
        if (identity) return identity;
      }
      return undefined;
    },
  };
}

function createProviderSource(identityOf: ReturnType<typeof createProvider>): CredentialSource {
  return { read: async (question) => readHeld(identityOf(question), question) };
}

function createEntrySource(entry: CredentialsEntry, deps: ProviderDeps): CredentialSource {
  const { provider } = entry;
  if (provider !== undefined) return createProviderSource(createProvider({ ...entry, provider }, deps));
  if (entry.dockerConfigFile !== undefined) return createDockerConfigSource(entry.dockerConfigFile);
  if (entry.helper !== undefined) return createHelperSource(entry.helper);
  return createPairSource(entry);
}

/** What was configured for an upstream: of several entries the one with the longest prefix of the repository's path. */
export function createCredentialSource(config: CredentialsConfig, deps: ProviderDeps): CredentialSource {
  const entries = config
    .map((entry) => ({ prefix: entry.prefix ?? "", source: createEntrySource(entry, deps) }))
    .sort((a, b) => b.prefix.length - a.prefix.length);
  return {
    async read(question) {
      const entry = entries.find(({ prefix }) => isPathPrefix(prefix, question.repository));
      return entry?.source.read(question);
    },
  };
}
