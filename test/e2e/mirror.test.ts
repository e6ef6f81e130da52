/** Mode mirror on a real cluster: pods keep their images' names, containerd asks the proxy by its hosts.toml. */
import { describe } from "vitest";
import { mirror, mirrorRemoved } from "./chapters/mirror.ts";
import { proxyUpdate } from "./chapters/proxy-update.ts";
import { useScene } from "./scene.ts";

const scene = useScene({
  install: false,
  values: ({ cluster }) => ({
    mode: "mirror",
    proxy: {
      hostsToml: {
        directory: cluster.certsDir,
        registries: ["docker.io", "_default"],
        criSocket: cluster.containerdSocket,
      },
    },
  }),
});

describe("mode mirror", () => {
  mirror(scene);
});
describe("an update of the proxy", () => {
  proxyUpdate(scene);
});
describe("the end of it", () => {
  mirrorRemoved(scene);
});
