// `helm test`: asks the registry for an image as a node does, and checks every digest that it is given. Run by Node.js alone.
// REGISTRY: its URL. IMAGE: with its registry, such as docker.io/library/busybox:stable; empty: only whether it answers.
import { createHash } from "node:crypto";

const { REGISTRY = "http://127.0.0.1:5000", IMAGE = "", TIMEOUT = "120" } = process.env;
const MANIFESTS = ["oci.image.index.v1", "oci.image.manifest.v1"].map((type) => `application/vnd.${type}+json`);
const DOCKER = ["manifest.list.v2", "manifest.v2"].map((type) => `application/vnd.docker.distribution.${type}+json`);
const headers = { accept: [...MANIFESTS, ...DOCKER].join(", ") };
const deadline = Date.now() + Number(TIMEOUT) * 1000;

/** Until it answers: right after an installation the registry may still be starting, or pulling. */
async function get(path) {
  for (;;) {
    const answer = await fetch(`${REGISTRY}${path}`, { headers, signal: AbortSignal.timeout(60_000) }).catch(String);
    if (typeof answer !== "string" && answer.status < 500 && answer.status !== 429) return answer;
    const problem = typeof answer === "string" ? answer : `${answer.status} ${await answer.text()}`;
    if (Date.now() > deadline) throw new Error(`${path}: ${problem}`);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
  }
}

async function content(path, expected) {
  const answer = await get(path);
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  const digest = expected ?? answer.headers.get("docker-content-digest") ?? "none";
  const [algorithm] = digest.split(":");
  const found = `${algorithm}:${createHash(algorithm === "sha512" ? "sha512" : "sha256")
    .update(bytes)
    .digest("hex")}`;
  if (found !== digest) throw new Error(`${path}: the content is ${found}, not ${digest}`);
  console.log(`${path}: ${bytes.length} bytes, ${digest} (${answer.headers.get("cache-status") ?? "no cache status"})`);
  return { bytes, digest };
}

async function pull() {
  const [, name, tag, digest] = /^([^@]+?)(?::([^/:@]+))?(?:@(.+))?$/.exec(IMAGE) ?? [];
  const base = `/v2/${name}`;
  const top = await content(`${base}/manifests/${digest ?? tag ?? "latest"}`, digest);
  let manifest = JSON.parse(top.bytes.toString());
  if (manifest.manifests) {
    const child = manifest.manifests.find(({ platform }) => platform?.os === "linux") ?? manifest.manifests[0];
    manifest = JSON.parse((await content(`${base}/manifests/${child.digest}`, child.digest)).bytes.toString());
  }
  const layers = [...manifest.layers].sort((a, b) => a.size - b.size);
  for (const { digest: blob } of [manifest.config, ...layers.slice(0, 1)]) await content(`${base}/blobs/${blob}`, blob);
  // what was pulled is now held: asked by digest, nobody but the store is needed
  await content(`${base}/manifests/${top.digest}`, top.digest);
}

try {
  const { status } = await get("/v2/");
  if (status !== 200 && status !== 401) throw new Error(`/v2/: ${status}`);
  if (IMAGE === "") console.log("the registry answers; test.image is empty, so nothing is pulled");
  else await pull();
} catch (error) {
  console.error(`FAILED ${error.message}`);
  process.exitCode = 1;
}
