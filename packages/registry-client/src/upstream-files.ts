import { unreadableFiles } from "@cache-registry/runtime/config/files";
import { filesOfCredentials, missingHelpers } from "./credentials/config.ts";
import type { Upstream } from "./upstream.ts";

/** One line for each file and each credential helper that the list names and that is not there when the process starts. */
export function missingForUpstreams(upstreams: readonly Upstream[]): string[] {
  return upstreams.flatMap(({ credentials, tls }, index) => {
    const key = `upstreams.${index}`;
    return [
      ...unreadableFiles([
        ...filesOfCredentials(credentials).map(([name, path]) => [`${key}.credentials.${name}`, path] as const),
        [`${key}.tls.caFile`, tls?.caFile],
        [`${key}.tls.certFile`, tls?.certFile],
        [`${key}.tls.keyFile`, tls?.keyFile],
      ]),
      ...missingHelpers(credentials).map(
        ([name, helper]) => `${key}.credentials.${name}: docker-credential-${helper} is not on PATH`,
      ),
    ];
  });
}
