import { bodyOf, extentsOf, hashOf, sendParts, textBody } from "../object-store/content.ts";
import { StoreResponseError } from "../object-store/errors.ts";
import type { Upload } from "../object-store/objects.ts";
import type { AzureClient } from "./client.ts";

/** Azure takes at most 50,000. */
const MAX_BLOCKS = 45_000;

/** Put Blob: one request. The server refuses bytes that are not of the hash. */
export async function putBlob(client: AzureClient, name: string, { content }: Upload): Promise<void> {
  const whole = { start: 0, length: content.size };
  const hash = await hashOf("md5", content, whole);
  const headers = { "x-ms-blob-type": "BlockBlob", "content-md5": hash.digest("base64") };
  await client.text({ method: "PUT", name, headers, body: bodyOf(content, whole) });
}

/**
 * Put Block for each part: unseen until their list is put, and forgotten by the server after a week. A block is named after its
 * place, since the content of a blob never differs: whoever sends the same one meanwhile, and whoever of them commits first,
 * the list means the same bytes.
 */
export async function putBlocks(
  client: AzureClient,
  name: string,
  { content, partBytes }: Upload & { readonly partBytes: number },
): Promise<readonly string[]> {
  const length = Math.max(partBytes, Math.ceil(content.size / MAX_BLOCKS));
  // All names of a blob have to be equally long.
  const idOf = (index: number) =>
    Buffer.from(`${String(index).padStart(5, "0")}-${String(length).padStart(12, "0")}`).toString("base64");
  return sendParts(extentsOf(content.size, length), async (extent, index) => {
    const blockid = idOf(index);
    const hash = await hashOf("md5", content, extent);
    const headers = { "content-md5": hash.digest("base64") };
    await client.text({
      method: "PUT",
      name,
      query: { comp: "block", blockid },
      headers,
      body: bodyOf(content, extent),
    });
    return blockid;
  });
}

/** Put Block List: makes the blob of blocks that are there already. */
export async function putBlockList(client: AzureClient, name: string, blocks: readonly string[]): Promise<void> {
  const list = blocks.map((id) => `<Latest>${id}</Latest>`).join("");
  const body = textBody(`<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`);
  const headers = { "content-type": "application/xml" };
  await client.text({ method: "PUT", name, query: { comp: "blocklist" }, headers, body });
}

/** Blocks that were there are not any more: somebody removed the blob meanwhile, or put it in one request. */
export function isBlockGone(error: unknown): boolean {
  return error instanceof StoreResponseError && error.status === 400 && error.code === "InvalidBlockList";
}
