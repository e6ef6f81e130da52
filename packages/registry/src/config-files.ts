import { accessSync, constants } from "node:fs";
import { filesOfCredentials, missingHelpers } from "@cache-registry/registry-client/credentials/config";
import { ConfigError } from "@cache-registry/runtime/config";
import type { RegistryConfig } from "./config.ts";

/** Files that the configuration names and that must be there when the process starts. Certificates are checked where they are loaded. */
function filesOf({
  auth,
  management,
  replica,
  storage,
  upstreams,
}: RegistryConfig): (readonly [key: string, path: string | undefined])[] {
  const ofUpstreams = upstreams.flatMap(({ credentials, tls }, index) => {
    const key = `upstreams.${index}`;
    return [
      ...filesOfCredentials(credentials).map(([name, path]) => [`${key}.credentials.${name}`, path] as const),
      [`${key}.tls.caFile`, tls?.caFile],
      [`${key}.tls.certFile`, tls?.certFile],
      [`${key}.tls.keyFile`, tls?.keyFile],
    ] as const;
  });
  return [
    ["auth.htpasswdFile", auth.htpasswdFile],
    ["auth.usernameFile", auth.usernameFile],
    ["auth.passwordFile", auth.passwordFile],
    ["management.tokenFile", management.tokenFile],
    ["replica.tokenFile", replica?.tokenFile],
    ["replica.caFile", replica?.caFile],
    ["storage.blobs.s3.accessKeyIdFile", storage.blobs.s3?.accessKeyIdFile],
    ["storage.blobs.s3.secretAccessKeyFile", storage.blobs.s3?.secretAccessKeyFile],
    ["storage.blobs.s3.sessionTokenFile", storage.blobs.s3?.sessionTokenFile],
    ["storage.metadata.postgres.urlFile", storage.metadata.postgres?.urlFile],
    ["storage.metadata.postgres.caFile", storage.metadata.postgres?.caFile],
    ...ofUpstreams,
  ];
}

/** @throws ConfigError naming every key whose file cannot be read, or whose program is not there */
export function assertFilesReadable(config: RegistryConfig): void {
  const problems: string[] = [];
  for (const [key, path] of filesOf(config)) {
    if (path === undefined) continue;
    try {
      accessSync(path, constants.R_OK);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      problems.push(`${key}: the file ${path} cannot be read (${code ?? "unknown error"})`);
    }
  }
  for (const [index, { credentials }] of config.upstreams.entries()) {
    for (const [key, helper] of missingHelpers(credentials)) {
      problems.push(`upstreams.${index}.credentials.${key}: docker-credential-${helper} is not on PATH`);
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
}
