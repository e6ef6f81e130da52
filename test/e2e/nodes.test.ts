/** Two nodes, no cert-manager, and trouble: upstreams that refuse or crawl, parts that are killed. One cluster, one release. */
import { describe } from "vitest";
import { nodeTaint } from "./chapters/node-taint.ts";
import { privateImages } from "./chapters/private.ts";
import { refusedPull } from "./chapters/refused.ts";
import { restarts } from "./chapters/restarts.ts";
import { secondNode } from "./chapters/second-node.ts";
import { SHORT_LIVED, selfManaged } from "./chapters/self-managed.ts";
import { shapes } from "./chapters/shapes.ts";
import { upstreamTrouble } from "./chapters/upstream-trouble.ts";
import { useScene } from "./scene.ts";

const scene = useScene({
  nodes: 2,
  certManager: false,
  values: ({ upstreamUrl }) => ({
    certificates: SHORT_LIVED,
    registry: { management: { tls: true } },
    proxy: { nodeTaint: { enabled: true } },
    upstreams: [{ registry: "docker.io", endpoints: [upstreamUrl], tagTtl: "1s" }],
  }),
});

describe("two nodes", () => {
  secondNode(scene);
});
describe("the taint of a node", () => {
  nodeTaint(scene);
});
describe("shapes of pods", () => {
  shapes(scene);
});
describe("an upstream in trouble", () => {
  upstreamTrouble(scene);
});
describe("a pull that is refused", () => {
  refusedPull(scene);
});
describe("certificates without cert-manager", () => {
  selfManaged(scene);
});
describe("killed and restarted", () => {
  restarts(scene);
});
describe("private images", () => {
  privateImages(scene);
});
