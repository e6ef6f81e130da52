/** Two nodes, and trouble: upstreams that refuse or crawl, parts that are killed. One cluster, one release. */
import { describe } from "vitest";
import { restarts } from "./chapters/restarts.ts";
import { secondNode } from "./chapters/second-node.ts";
import { shapes } from "./chapters/shapes.ts";
import { upstreamTrouble } from "./chapters/upstream-trouble.ts";
import { useScene } from "./scene.ts";

const scene = useScene({
  nodes: 2,
  values: ({ upstreamUrl }) => ({
    upstreams: [{ registry: "docker.io", endpoints: [upstreamUrl], tagTtl: "1s" }],
  }),
});

describe("two nodes", () => {
  secondNode(scene);
});
describe("shapes of pods", () => {
  shapes(scene);
});
describe("an upstream in trouble", () => {
  upstreamTrouble(scene);
});
describe("killed and restarted", () => {
  restarts(scene);
});
