import { missingForUpstreams } from "@cache-registry/registry-client/upstream-files";
import { ConfigError } from "@cache-registry/runtime/config";
import { unreadableFiles } from "@cache-registry/runtime/config/files";
import type { RegistryConfig } from "./config.ts";

/**
 * Files that the configuration names and that must be there when the process starts. Certificates are checked where they
 * are loaded.
 * @throws ConfigError naming every key whose file cannot be read, or whose program is not there
 */
export function assertFilesReadable({ auth, management, replica, storage, upstreams }: RegistryConfig): void {
  const problems = [
    ...unreadableFiles([
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
    ]),
    ...missingForUpstreams(upstreams),
  ];
  if (problems.length > 0) throw new ConfigError(problems);
}
