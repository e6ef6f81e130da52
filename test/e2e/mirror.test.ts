/** Mode mirror on a real cluster: pods keep their images' names, containerd asks the proxy by its hosts.toml. */
import { afterAll, beforeAll, describe } from "vitest";
import { writeHostsToml } from "../../hack/cluster/hosts-toml.ts";
import { mirror, mirrorRemoved } from "./chapters/mirror.ts";
import { mirrorPrivate, PRIVATE_IMAGE, PRIVATE_REGISTRY } from "./chapters/mirror-private.ts";
import { proxyUpdate } from "./chapters/proxy-update.ts";
import { uninstallWithJobs } from "./chapters/uninstall-jobs.ts";
import { withoutHostNetwork } from "./chapters/without-proxy.ts";
import { type PrivateUpstream, startPrivateUpstream } from "./private-upstream.ts";
import { useScene } from "./scene.ts";

let upstream: PrivateUpstream | undefined;
function privateUpstream(): PrivateUpstream {
  if (!upstream) throw new Error("the private upstream is not there");
  return upstream;
}

const scene = useScene({ install: false });

function values(): Record<string, unknown> {
  const { cluster, upstreamUrl } = scene().stage;
  const registries = ["docker.io", "_default", PRIVATE_REGISTRY];
  return {
    mode: "mirror",
    upstreams: [
      { registry: "docker.io", endpoints: [upstreamUrl] },
      { registry: PRIVATE_REGISTRY, endpoints: [privateUpstream().url] },
    ],
    proxy: { hostsToml: { directory: cluster.certsDir, registries, criSocket: cluster.containerdSocket } },
  };
}

beforeAll(async () => {
  const { stage } = scene();
  upstream = await startPrivateUpstream(stage, PRIVATE_IMAGE);
  const { certsDir } = stage.cluster;
  await writeHostsToml({ certsDir, registry: PRIVATE_REGISTRY, endpoints: [], server: upstream.url });
});
afterAll(() => upstream?.stop());

describe("mode mirror", () => {
  mirror(scene, values);
});
describe("private images", () => {
  mirrorPrivate(scene, privateUpstream);
});
describe("an update of the proxy", () => {
  proxyUpdate(scene);
});
describe("the end of it", () => {
  mirrorRemoved(scene);
});
describe("with less of the node", () => {
  withoutHostNetwork(scene);
});
describe("the end of it, in mode rewrite", () => {
  uninstallWithJobs(scene);
});
