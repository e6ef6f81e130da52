import { randomBytes } from "node:crypto";
import http from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type RunningProxy, startProxy } from "./testing/running-proxy.ts";

const SIZE = 3_000_000;
const bytes = randomBytes(SIZE);

let proxy: RunningProxy;
let digest: string;
let path: string;

beforeEach(async () => {
  proxy = await startProxy();
  digest = proxy.cache.addBlob(bytes);
  proxy.upstream.addBlob(bytes);
  path = `/v2/docker.io/library/nginx/blobs/${digest}`;
});

afterEach(() => proxy.close());

/** Sends so many bytes from `start`, then cuts the connection; answers so only the first `times` requests. */
function cutAfter(registry: RunningProxy["cache"], sent: number, times = 1): void {
  let left = times;
  registry.intercept = (request, response) => {
    if (left === 0) return false;
    left -= 1;
    const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const range = start > 0 ? { "content-range": `bytes ${start}-${SIZE - 1}/${SIZE}` } : {};
    response.writeHead(start > 0 ? 206 : 200, { "content-length": SIZE - start, ...range });
    response.write(bytes.subarray(start, start + sent), () => setTimeout(() => response.destroy(), 20));
    return true;
  };
}

const SUBJECT = { registry: "docker.io", repository: "library/nginx" };

function logged(message: string): unknown {
  const line = proxy
    .log()
    .split("\n")
    .find((one) => one.includes(`"msg":"${message}"`));
  return line && JSON.parse(line);
}

const rangesOf = (registry: RunningProxy["cache"]) => registry.requests.map(({ headers }) => headers.range);

describe("from the cache", () => {
  it("a blob passes through, whole and in part", async () => {
    const whole = await proxy.ask(path);
    expect(whole).toMatchObject({ status: 200, complete: true, headers: { "content-length": String(SIZE) } });
    expect(whole.body.equals(bytes)).toBe(true);
    const part = await proxy.ask(path, { headers: { range: "bytes=1000000-1999999" } });
    expect(part).toMatchObject({ status: 206, headers: { "content-range": `bytes 1000000-1999999/${SIZE}` } });
    expect(part.body.equals(bytes.subarray(1_000_000, 2_000_000))).toBe(true);
    expect(await proxy.ask(path, { method: "HEAD" })).toMatchObject({
      status: 200,
      headers: { "content-length": String(SIZE) },
    });
    expect(proxy.upstream.requests).toHaveLength(0);
  });

  it("a break is continued from the upstream, unnoticed", async () => {
    cutAfter(proxy.cache, 1_000_000);
    const { status, body, complete } = await proxy.ask(path);
    expect({ status, complete, right: body.equals(bytes) }).toEqual({ status: 200, complete: true, right: true });
    expect(proxy.upstream.requests).toMatchObject([
      { url: `/v2/library/nginx/blobs/${digest}`, headers: { range: "bytes=1000000-" } },
    ]);
    expect(await proxy.metrics()).toContain("proxy_continued_bodies_total 1");
    expect(logged("a body broke and is continued")).toMatchObject(SUBJECT);
  });

  it("a break within a range is continued at the right place, and ends there", async () => {
    cutAfter(proxy.cache, 200_000);
    const { status, body } = await proxy.ask(path, { headers: { range: "bytes=500000-" } });
    expect({ status, right: body.equals(bytes.subarray(500_000)) }).toEqual({ status: 206, right: true });
    expect(rangesOf(proxy.upstream)).toEqual(["bytes=700000-"]);
  });

  it("a break is continued from the cache once more when the upstream cannot", async () => {
    cutAfter(proxy.cache, 1_000_000);
    await proxy.upstream.stop();
    const { body, complete } = await proxy.ask(path);
    expect({ complete, right: body.equals(bytes) }).toEqual({ complete: true, right: true });
    expect(rangesOf(proxy.cache)).toEqual([undefined, "bytes=1000000-"]);
    await proxy.upstream.start();
  });

  it("an upstream that ignores the range is read past", async () => {
    cutAfter(proxy.cache, 1_000_000);
    proxy.upstream.intercept = (request) => {
      delete request.headers.range;
      return false;
    };
    expect((await proxy.ask(path)).body.equals(bytes)).toBe(true);
  });

  it("another size at the upstream is not believed", async () => {
    cutAfter(proxy.cache, 1_000_000, 9);
    proxy.upstream.intercept = (_request, response) => {
      response.writeHead(206, { "content-range": "bytes 1000000-1000009/1000010" }).end(Buffer.alloc(10));
      return true;
    };
    const { body, complete } = await proxy.ask(path);
    expect({ complete, right: body.equals(bytes) }).toEqual({ complete: true, right: true });
    expect(rangesOf(proxy.cache)).toEqual([undefined, "bytes=1000000-", "bytes=2000000-"]);
  });

  it("with every source gone the answer is cut short, never padded", async () => {
    cutAfter(proxy.cache, 1_000_000, 99);
    await proxy.upstream.stop();
    proxy.cache.intercept = ((cut) => (request, response) => {
      if (proxy.cache.requests.length > 1) {
        request.socket.destroy();
        return true;
      }
      return cut?.(request, response) ?? false;
    })(proxy.cache.intercept);
    const { status, body, complete } = await proxy.ask(path);
    expect({ status, complete }).toEqual({ status: 200, complete: false });
    expect(body.equals(bytes.subarray(0, body.length))).toBe(true);
    expect(body.length).toBeLessThan(SIZE);
    expect(logged("an answer was cut")).toMatchObject(SUBJECT);
    await proxy.upstream.start();
  });
});

describe("from the upstream", () => {
  beforeEach(() => proxy.cache.stop());
  afterEach(() => proxy.cache.start());

  it("a blob is whole and right", async () => {
    const { status, headers, body } = await proxy.ask(path);
    expect({ status, right: body.equals(bytes) }).toEqual({ status: 200, right: true });
    expect(headers).toMatchObject({
      "content-length": String(SIZE),
      "docker-content-digest": digest,
      "accept-ranges": "bytes",
    });
    expect(await proxy.ask(path, { method: "HEAD" })).toMatchObject({
      status: 200,
      headers: { "content-length": String(SIZE) },
    });
  });

  it.each([
    ["bytes=0-", 0, SIZE],
    ["bytes=5-9", 5, 10],
    ["bytes=2999990-9999999", 2_999_990, SIZE],
    ["bytes=-7", SIZE - 7, SIZE],
    ["bytes=-99999999", 0, SIZE],
  ])("%s is 206", async (range, start, end) => {
    const { status, headers, body } = await proxy.ask(path, { headers: { range } });
    expect({ status, contentRange: headers["content-range"], right: body.equals(bytes.subarray(start, end)) }).toEqual({
      status: 206,
      contentRange: `bytes ${start}-${end - 1}/${SIZE}`,
      right: true,
    });
  });

  it.each(["bytes=3000000-", "bytes=-0"])("%s is 416", async (range) => {
    expect((await proxy.ask(path, { headers: { range } })).status).toBe(416);
  });

  it.each(["bytes=9-5", "bytes=0-1,3-4", "lines=1-2", "bytes=x-"])("%s is ignored", async (range) => {
    expect((await proxy.ask(path, { headers: { range } })).status).toBe(200);
  });

  it("ranges are served although the upstream ignores them", async () => {
    proxy.upstream.intercept = (request) => {
      delete request.headers.range;
      return false;
    };
    const { status, body } = await proxy.ask(path, { headers: { range: "bytes=1000-1999" } });
    expect({ status, right: body.equals(bytes.subarray(1000, 2000)) }).toEqual({ status: 206, right: true });
    expect((await proxy.ask(path, { headers: { range: "bytes=3000000-" } })).status).toBe(416);
  });

  it("a break is resumed", async () => {
    cutAfter(proxy.upstream, 1_000_000, 2);
    const { body, complete } = await proxy.ask(path);
    expect({ complete, right: body.equals(bytes) }).toEqual({ complete: true, right: true });
    expect(rangesOf(proxy.upstream)).toEqual([undefined, "bytes=1000000-", "bytes=2000000-"]);
  });

  it("wrong bytes are never sent whole", async () => {
    proxy.upstream.intercept = (_request, response) => {
      const wrong = Buffer.from(bytes);
      wrong[10] = (wrong[10] ?? 0) ^ 1;
      response.writeHead(200, { "content-length": SIZE }).end(wrong);
      return true;
    };
    const { status, body, complete } = await proxy.ask(path);
    expect({ status, complete }).toEqual({ status: 200, complete: false });
    expect(body.length).toBeLessThan(SIZE);
  });
});

describe("a reader", () => {
  const LARGE = 512 * 1024 * 1024;
  const chunk = Buffer.alloc(1024 * 1024, 7);

  it("that stands still stops the source, and one that leaves ends it", async () => {
    let sent = 0;
    const ended = new Promise<void>((resolve) => {
      proxy.cache.intercept = (_request, response) => {
        response.writeHead(200, { "content-length": LARGE });
        const write = (): void => {
          while (!response.destroyed) {
            sent += chunk.length;
            if (!response.write(chunk)) return void response.once("drain", write);
          }
        };
        response.once("close", resolve);
        write();
        return true;
      };
    });
    const response = await new Promise<http.IncomingMessage>((resolve) => {
      http.get(`${proxy.url}${path}`, { agent: false }, resolve);
    });
    response.pause();
    await expect
      .poll(async () => {
        const before = sent;
        await new Promise((resolve) => setTimeout(resolve, 200));
        return sent - before;
      })
      .toBe(0);
    expect(sent).toBeLessThan(64 * 1024 * 1024);
    response.destroy();
    await ended;
  });
});
