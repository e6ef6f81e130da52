import { lastWords } from "./process-output.ts";
import type { Blob, Document, Image, Index } from "./test-content.ts";

type RequestOptions = {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | ReadableStream<Uint8Array> | string;
  readonly signal?: AbortSignal;
};

/** One registry over HTTP, as the distribution spec describes it: small enough to see in a test what is asked. */
export type RegistryApi = {
  /** `path` is below `/v2/`, or a Location as a registry gave it. */
  request(method: string, path: string, options?: RequestOptions): Promise<Response>;
  /** POST and PUT. @throws Error unless both are accepted */
  pushBlob(repository: string, blob: Blob): Promise<void>;
  putManifest(repository: string, reference: string, manifest: Document): Promise<Response>;
  pushImage(repository: string, tag: string, image: Image | Index): Promise<void>;
  /** The body. @throws Error unless the status is 200 */
  get(path: string, options?: RequestOptions): Promise<Buffer>;
};

export function createRegistryApi(base: string, headers: Readonly<Record<string, string>> = {}): RegistryApi {
  async function request(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
    const url = new URL(path.startsWith("/") || path.startsWith("http") ? path : `/v2/${path}`, base);
    const { body, signal } = options;
    return fetch(url, {
      method,
      headers: { ...headers, ...options.headers },
      redirect: "manual",
      ...(signal ? { signal } : {}),
      ...(body === undefined ? {} : { body: body as RequestInit["body"], duplex: "half" }),
    } as RequestInit);
  }

  /** For what has to go well: says what the registry wrote when there was no answer at all. */
  async function ask(method: string, path: string, options?: RequestOptions): Promise<Response> {
    return request(method, path, options).catch((cause: unknown) => {
      throw new Error(`${method} ${path}: ${String(cause)}${lastWords(base)}`, { cause });
    });
  }

  async function expectStatus(response: Response, status: number): Promise<Response> {
    if (response.status === status) return response;
    throw new Error(`${response.url} answered ${response.status}: ${await response.text()}${lastWords(base)}`);
  }

  async function pushBlob(repository: string, { bytes, digest }: Blob): Promise<void> {
    const begun = await expectStatus(await ask("POST", `${repository}/blobs/uploads/`), 202);
    const location = new URL(begun.headers.get("location") ?? "", base);
    location.searchParams.set("digest", digest);
    const type = { "content-type": "application/octet-stream" };
    await expectStatus(await ask("PUT", location.href, { body: bytes, headers: type }), 201);
  }

  function putManifest(repository: string, reference: string, { mediaType, bytes }: Document): Promise<Response> {
    const options = { body: bytes, headers: { "content-type": mediaType } };
    return request("PUT", `${repository}/manifests/${reference}`, options);
  }

  async function pushImage(repository: string, tag: string, image: Image | Index): Promise<void> {
    if ("images" in image) {
      for (const child of image.images) await pushImage(repository, child.manifest.digest, child);
    } else {
      await Promise.all(image.blobs.map((blob) => pushBlob(repository, blob)));
    }
    await expectStatus(await putManifest(repository, tag, image.manifest), 201);
  }

  return {
    request,
    pushBlob,
    putManifest,
    pushImage,
    async get(path, options) {
      const response = await expectStatus(await ask("GET", path, options), 200);
      return Buffer.from(await response.arrayBuffer());
    },
  };
}

/** `{"errors":[{code, …}]}` of an answer. */
export async function errorOf(response: Response): Promise<{ code: string; message: string; detail?: unknown }> {
  const body = (await response.json()) as { errors: { code: string; message: string; detail?: unknown }[] };
  const [error] = body.errors;
  if (!error) throw new Error("an error body without an error");
  return error;
}
