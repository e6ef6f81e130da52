import type { PutManifest, RepositoryKey } from "../metadata-store.ts";
import type { WriteRequest } from "../sqlite-messages.ts";

/**
 * Writes that a power cut may take away (rule 2): what is cached is fetched again, an upload session begins anew, a time of
 * use is noted at the next use. Everything else is on disk before it is answered, with all that was written before it: so the
 * manifest of an import, which no upstream could give again and which comes with what it refers to.
 */
export function mayBeLost({ operation, args }: Pick<WriteRequest, "operation" | "args">): boolean {
  switch (operation) {
    case "putManifest": {
      const [{ repository, requireReferences }] = args as readonly [
        Pick<PutManifest, "repository" | "requireReferences">,
      ];
      return repository.upstream !== null && !requireReferences;
    }
    case "linkBlob": {
      const [{ repository }] = args as readonly [{ readonly repository: RepositoryKey }];
      return repository.upstream !== null;
    }
    case "putReferrersAnswer":
    case "markTag":
    case "recordPulls":
    case "createUpload":
    case "touchUpload":
    case "deleteUpload":
    case "writerStats":
      return true;
    default:
      return false;
  }
}
