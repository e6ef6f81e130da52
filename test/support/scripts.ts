import type { Script } from "./fake-registry.ts";
import type { Image } from "./test-content.ts";

/** The same status for everything. */
export function answering(status: number, headers: Record<string, string> = {}): Script {
  return (_request, response) => void response.writeHead(status, headers).end();
}

/** An honest registry with one image, under every tag and in every repository. */
export function serving({ manifest, blobs }: Image): Script {
  const contents = new Map(blobs.map(({ digest, bytes }) => [digest, bytes]));
  return ({ url = "", method }, response) => {
    const bytes = url.includes("/manifests/") ? manifest.bytes : contents.get(url.split("/").at(-1) ?? "");
    if (!bytes) return void response.writeHead(404).end();
    const isManifest = bytes === manifest.bytes;
    response.writeHead(200, {
      "content-length": bytes.length,
      "content-type": isManifest ? manifest.mediaType : "application/octet-stream",
      ...(isManifest ? { "docker-content-digest": manifest.digest } : {}),
    });
    response.end(method === "HEAD" ? undefined : bytes);
  };
}
