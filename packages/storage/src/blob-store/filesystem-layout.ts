import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { algorithmOf, DIGEST_ALGORITHMS, type Digest, type DigestAlgorithm, hexOf } from "@cache-registry/core/digest";
import { CodedError } from "@cache-registry/core/errors";

/** Where things lie below the root of a file-system store. `blobs` as in an OCI image layout (image-layout.md). */
export type Layout = {
  /** Every folder, parents first. */
  readonly folders: readonly string[];
  /** With many replicas: their own folders, by id; each has its own `ingest/`, `uploads/` and `trash/`. */
  readonly replicas: string;
  readonly ingest: string;
  readonly uploads: string;
  readonly trash: string;
  readonly quarantine: string;
  readonly blobFolder: (algorithm: DigestAlgorithm) => string;
  readonly blob: (digest: Digest) => string;
  /** @throws CodedError BLOB_UPLOAD_UNKNOWN for an id that no store of ours made */
  readonly upload: (id: string) => string;
  readonly trashed: (digest: Digest, generation: number) => string;
  /** A new name each time: the same digest may be damaged again. */
  readonly quarantined: (digest: Digest) => string;
  readonly newIngest: () => string;
};

/** Letters, digits, `-` and `_`: neither a path separator nor a dot, so an id cannot leave its folder. */
const UPLOAD_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/;

export function isUploadId(id: string): boolean {
  return UPLOAD_ID.test(id);
}

/** `replica`: the folder is shared by many, and this is the one of them. */
export function createLayout(root: string, replica?: string): Layout {
  const blobs = join(root, "blobs");
  const replicas = join(root, "replicas");
  const own = replica === undefined ? [] : [replicas, join(replicas, replica)];
  const work = own.at(-1) ?? root;
  const ingest = join(work, "ingest");
  const uploads = join(work, "uploads");
  const trash = join(work, "trash");
  const quarantine = join(root, "quarantine");
  const blobFolder = (algorithm: DigestAlgorithm): string => join(blobs, algorithm);

  return {
    folders: [root, blobs, ...DIGEST_ALGORITHMS.map(blobFolder), ...own, ingest, uploads, trash, quarantine],
    replicas,
    ingest,
    uploads,
    trash,
    quarantine,
    blobFolder,
    blob: (digest) => join(blobFolder(algorithmOf(digest)), hexOf(digest)),
    upload(id) {
      if (!isUploadId(id)) throw new CodedError("BLOB_UPLOAD_UNKNOWN");
      return join(uploads, id);
    },
    trashed: (digest, generation) => join(trash, `${hexOf(digest)}.${generation}`),
    quarantined: (digest) =>
      join(quarantine, `${algorithmOf(digest)}-${hexOf(digest)}.${randomBytes(4).toString("hex")}`),
    newIngest: () => join(ingest, randomBytes(16).toString("hex")),
  };
}

/** image-layout.md, "oci-layout file" and "index.json file": what makes other tools accept the folder. */
export const MARKERS: ReadonlyMap<string, string> = new Map([
  ["oci-layout", '{"imageLayoutVersion":"1.0.0"}\n'],
  ["index.json", '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}\n'],
]);
