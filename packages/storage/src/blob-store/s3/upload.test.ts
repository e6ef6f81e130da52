import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { content } from "../conformance/fixtures.ts";
import { answer, refusal } from "../object-store/test-server.ts";
import { type ScriptedS3, startScriptedS3 } from "./test-server.ts";
import { prepareUpload } from "./upload.ts";

const MiB = 2 ** 20;
const bytes = content(3 * MiB + 7);
const begun = answer(
  200,
  "<InitiateMultipartUploadResult><UploadId>the-upload</UploadId></InitiateMultipartUploadResult>",
);
const completed = answer(200, "<CompleteMultipartUploadResult><Key>k</Key></CompleteMultipartUploadResult>");
const part = answer(200, "", { etag: '"e<&>"' });
let server: ScriptedS3;
beforeAll(async () => {
  server = await startScriptedS3();
});
afterAll(() => server.close());

const spooled = {
  size: bytes.length,
  readAt: async (buffer: Uint8Array, position: number) => bytes.copy(buffer, 0, position),
};
const prepare = () => prepareUpload(server.client, "k", { content: spooled, partBytes: MiB });
const requests = () => server.seen.map(({ method, path }) => `${method} ${path.slice("/images/k".length)}`);

describe("multipart upload", () => {
  it("sends every part once, and completes with their ETags in order", async () => {
    server.script(begun, part, part, part, part, completed);
    const upload = await prepare();
    await upload.complete();
    const parts = server.seen.filter(({ method }) => method === "PUT");
    const number = ({ path }: { path: string }) => Number(/partNumber=(\d+)/.exec(path)?.[1]);
    const sorted = parts.toSorted((a, b) => number(a) - number(b));
    expect(Buffer.concat(sorted.map(({ body }) => body)).equals(bytes)).toBe(true);
    expect(sorted.map(({ body }) => body.length)).toEqual([MiB, MiB, MiB, 7]);
    const numbers = [
      ...(server.seen.at(-1)?.body.toString() ?? "").matchAll(/<PartNumber>(\d)<\/PartNumber><ETag>"e&lt;&amp;>"/g),
    ];
    expect(numbers.map(([, digit]) => digit)).toEqual(["1", "2", "3", "4"]);
  });

  it("is aborted when a part is refused, after the others have ended", async () => {
    server.script(begun, (response, seen) => {
      const refused = seen.path.startsWith("/images/k?partNumber=2");
      const reaction = seen.method === "DELETE" ? answer(204) : refused ? refusal(403, "AccessDenied") : part;
      return reaction(response, seen);
    });
    await expect(prepare()).rejects.toMatchObject({ code: "AccessDenied" });
    expect(requests().at(-1)).toBe("DELETE ?uploadId=the-upload");
    expect(requests().filter((line) => line.startsWith("PUT")).length).toBeLessThan(5);
  });

  it("is not done when the answer to its completion is an error after all", async () => {
    const complete = async (...answers: Parameters<typeof server.script>) => {
      server.script(begun, part, part, part, part, ...answers);
      await (await prepare()).complete();
    };
    await complete(refusal(200, "InternalError"), completed);
    await expect(complete(answer(200, "<html/>"))).rejects.toMatchObject({ name: "StoreProtocolError" });
    // An earlier attempt did it, and its answer was lost.
    await complete(refusal(500, "InternalError"), refusal(404, "NoSuchUpload"), (response) =>
      response.writeHead(200, { "content-length": String(bytes.length) }).end(),
    );
    const other = answer(200, "", { "content-length": "5" });
    await expect(complete(refusal(404, "NoSuchUpload"), other)).rejects.toMatchObject({ code: "NoSuchUpload" });
  });
});
