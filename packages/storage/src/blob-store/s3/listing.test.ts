import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listAll } from "../conformance/fixtures.ts";
import { answer } from "../object-store/test-server.ts";
import { abandonedUploads, keysBelow } from "./listing.ts";
import { type ScriptedS3, startScriptedS3 } from "./test-server.ts";

let server: ScriptedS3;
beforeAll(async () => {
  server = await startScriptedS3();
});
afterAll(() => server.close());

const HEAD = `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`;
function page(keys: readonly string[], more: string): string {
  const contents = keys.map((key) => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`).join("");
  return `${HEAD}<Name>images</Name>${contents}${more}</ListBucketResult>`;
}
const last = "<IsTruncated>false</IsTruncated>";
const before = (token: string) =>
  `<IsTruncated>true</IsTruncated><NextContinuationToken>${token}</NextContinuationToken>`;
const list = () => listAll(keysBelow(server.client, "p/"));

describe("a list of keys", () => {
  it("goes through every page", async () => {
    server.script(answer(200, page(["p/a", "p/&lt;b&#x26;"], before("t&amp;1="))), answer(200, page(["p/c"], last)));
    expect(await list()).toEqual(["p/a", "p/<b&", "p/c"]);
    expect(server.seen.map(({ path }) => path)).toEqual([
      "/images/?list-type=2&prefix=p%2F",
      "/images/?continuation-token=t%261%3D&list-type=2&prefix=p%2F",
    ]);
  });

  it.each([
    ["a page cut in the middle", page(["p/a", "p/b"], last).slice(0, 180)],
    ["another document", "<html>welcome</html>"],
    ["nothing", ""],
    ["a page that does not say whether it is the last", page(["p/a"], "")],
    ["a page without the way to the next", page(["p/a"], "<IsTruncated>true</IsTruncated>")],
    ["fewer keys than announced", page(["p/a"], `<KeyCount>2</KeyCount>${last}`)],
    ["an object without a key", page([], `<Contents><Size>1</Size></Contents>${last}`)],
  ])("is refused with %s, also as the second page", async (_what, text) => {
    server.script(answer(200, text));
    await expect(list()).rejects.toMatchObject({ name: "StoreProtocolError" });
    server.script(answer(200, page(["p/0"], before("t"))), answer(200, text));
    await expect(list()).rejects.toMatchObject({ name: "StoreProtocolError" });
  });

  it("is refused when its pages go in a circle, or break off", async () => {
    server.script(answer(200, page(["p/a"], before("same"))));
    await expect(list()).rejects.toThrow("the same page");
    server.script(answer(200, page(["p/a"], before("t"))), answer(403));
    await expect(list()).rejects.toMatchObject({ status: 403 });
  });
});

describe("abandoned uploads", () => {
  const uploads = (ids: readonly string[], truncated: boolean) =>
    `<ListMultipartUploadsResult>${ids.map((id) => `<Upload><Key>p/k</Key><UploadId>${id}</UploadId></Upload>`).join("")}
     <IsTruncated>${truncated}</IsTruncated></ListMultipartUploadsResult>`;

  it("are asked for until none is left, and not for ever when one stays", async () => {
    server.script(answer(200, uploads(["a", "b"], true)), answer(200, uploads(["c"], false)));
    const found = await listAll(abandonedUploads(server.client, "p/"));
    expect(found.map(({ uploadId }) => uploadId)).toEqual(["a", "b", "c"]);
    server.script(answer(200, uploads(["stays"], true)));
    expect(await listAll(abandonedUploads(server.client, "p/"))).toHaveLength(2);
  });

  it("below other prefixes are left alone", async () => {
    server.script(answer(200, uploads(["a"], false)));
    expect(await listAll(abandonedUploads(server.client, "other/"))).toEqual([]);
  });
});
