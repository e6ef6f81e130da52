import type { Pod } from "@cache-registry/kube/workloads";
import { describe, expect, it } from "vitest";
import { isRefusal, refusedPulls } from "./refused-pull.ts";

const names = { endpoint: "localhost:7439", registries: new Set<string>() };
const CACHED = "localhost:7439/ghcr.io/acme/app:1";
const FAILED = `failed to pull and unpack image "${CACHED}": failed to resolve reference "${CACHED}"`;

describe("isRefusal", () => {
  it.each([
    `${FAILED}: unexpected status from HEAD request to http://localhost:7439/v2/ghcr.io/acme/app/manifests/1: 401 Unauthorized`,
    `${FAILED}: unexpected status from HEAD request to http://localhost:7439/v2/ghcr.io/acme/app/manifests/1: 403 Forbidden`,
    `${FAILED}: failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 403 Forbidden`,
    `${FAILED}: pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`,
    `rpc error: code = NotFound desc = ${FAILED}: ${CACHED}: not found`,
    `Back-off pulling image "${CACHED}": ErrImagePull: ${FAILED}: ${CACHED}: not found`,
    `reading manifest 1 in ${CACHED}: unauthorized: authentication required`,
    `reading manifest 1 in ${CACHED}: denied: requested access to the resource is denied`,
    `reading manifest 1 in ${CACHED}: manifest unknown`,
    `initializing source docker://${CACHED}: pinging container registry localhost:7439: Get "https://localhost:7439/v2/": http: server gave HTTP response to HTTPS client`,
    `copying system image from manifest list: Source image rejected: Running image docker://${CACHED} is rejected by policy.`,
    `image pull failed for ${CACHED} because the signature validation failed: Source image rejected: A signature was required, but no signature exists`,
  ])("%s", (message) => {
    expect(isRefusal(message)).toBe(true);
  });

  it.each([
    `Back-off pulling image "${CACHED}"`,
    `${FAILED}: failed to do request: Head "http://localhost:7439/v2/": dial tcp 127.0.0.1:7439: connect: connection refused`,
    `${FAILED}: unexpected status from HEAD request: 429 Too Many Requests`,
    `${FAILED}: unexpected status from HEAD request: 503 Service Unavailable`,
    `${FAILED}: failed to authorize: failed to fetch anonymous token: dial tcp: lookup auth.docker.io: i/o timeout`,
    "failed to extract layer sha256:4031401: mkdir /var/lib/containerd: permission denied: unknown",
    'failed to pull "10.0.0.1:403/a": dial tcp 10.0.0.1:401: connect: no route to host',
  ])("not: %s", (message) => {
    expect(isRefusal(message)).toBe(false);
  });
});

describe("refusedPulls", () => {
  const waiting = (name: string, reason = "ErrImagePull", message = `${FAILED}: ${CACHED}: not found`) => ({
    name,
    state: { waiting: { reason, message } },
  });
  function pod(image: string, status: Pod["status"], more: Pod["spec"] = {}): Pod {
    const containers = [
      { name: "side", image: "localhost:7439/docker.io/library/redis:7" },
      { name: "main", image },
    ];
    return { metadata: { name: "web", uid: "u-1" }, spec: { containers, ...more }, status: status ?? {} };
  }

  it.each([
    "ErrImagePull",
    "ImagePullBackOff",
    "SignatureValidationFailed",
  ])("finds a container that waits with %s, and its original", (reason) => {
    expect(refusedPulls(pod(CACHED, { containerStatuses: [waiting("main", reason)] }), names)).toEqual([
      {
        podUid: "u-1",
        list: "containers",
        index: 1,
        container: "main",
        cached: CACHED,
        original: "ghcr.io/acme/app:1",
        message: expect.stringContaining("not found"),
      },
    ]);
  });

  it("finds init containers, and keeps digests and ports", () => {
    const cached = `localhost:7439/harbor.local_5000/a/b:1@sha256:${"0".repeat(64)}`;
    const status = {
      initContainerStatuses: [waiting("prepare", "ErrImagePull", `x ${cached}: 401 Unauthorized`)],
    };
    const spec = { initContainers: [{ name: "prepare", image: cached }] };
    expect(refusedPulls(pod(CACHED, status, spec), names)).toMatchObject([
      { list: "initContainers", index: 0, original: `harbor.local:5000/a/b:1@sha256:${"0".repeat(64)}` },
    ]);
  });

  it("knows an image with tag and digest by its digest: containerd leaves the tag out of what it says", () => {
    const digest = `@sha256:${"0".repeat(64)}`;
    const message = `failed to pull and unpack image "localhost:7439/ghcr.io/acme/app${digest}": 401 Unauthorized`;
    const status = { containerStatuses: [waiting("main", "ErrImagePull", message)] };
    expect(refusedPulls(pod(`${CACHED}${digest}`, status), names)).toMatchObject([
      { container: "main", cached: `${CACHED}${digest}`, original: `ghcr.io/acme/app:1${digest}` },
    ]);
    const other = pod(`localhost:7439/ghcr.io/acme/app:1@sha256:${"1".repeat(64)}`, status);
    expect(refusedPulls(other, names)).toEqual([]);
  });

  it.each<[string, Pod]>([
    ["an image that was not rewritten", pod("ghcr.io/acme/app:1", { containerStatuses: [waiting("main")] })],
    ["a local repository of the cache", pod("localhost:7439/team/app", { containerStatuses: [waiting("main")] })],
    [
      "an image that replaced the refused one",
      pod("localhost:7439/quay.io/b", { containerStatuses: [waiting("main")] }),
    ],
    ["another reason", pod(CACHED, { containerStatuses: [waiting("main", "CrashLoopBackOff")] })],
    ["a failure that may pass", pod(CACHED, { containerStatuses: [waiting("main", "ErrImagePull", "timeout")] })],
    ["a container that is not there", pod(CACHED, { containerStatuses: [waiting("other")] })],
    ["a running container", pod(CACHED, { containerStatuses: [{ name: "main", state: {} }] })],
    ["no status", pod(CACHED, undefined)],
  ])("leaves alone: %s", (_what, subject) => {
    expect(refusedPulls(subject, names)).toEqual([]);
  });
});
