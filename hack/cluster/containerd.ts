import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { waitFor } from "./components.ts";
import type { NodeContext } from "./context.ts";
import { NETWORK, PAUSE_IMAGE } from "./layout.ts";
import type { NodeLayout } from "./node-layout.ts";

const run = promisify(execFile);

/** Starts containerd with its CNI configuration, and answers when it serves. */
export async function startContainerd(context: NodeContext): Promise<void> {
  const { node, tools } = context;
  await mkdir(node.certsDir, { recursive: true });
  const plugins = dirname(requireTool(tools, "bridge"));
  await writeCniConfiguration(node);
  const file = join(node.root, "containerd.toml");
  await writeFile(file, await configuration(node, { plugins, runc: requireTool(tools, "runc") }));
  const containerd = context.start("containerd", [`--config=${file}`], {
    // containerd looks its shim up on the PATH.
    PATH: `${dirname(requireTool(tools, "containerd-shim-runc-v2"))}:${process.env.PATH ?? ""}`,
  });
  await waitFor(async () => ctr(context, ["version"]), { what: "containerd serving", components: [containerd] });
}

/** Runs ctr on the kubelet's namespace. */
export async function ctr({ node, tools }: Pick<NodeContext, "node" | "tools">, args: readonly string[]) {
  const program = requireTool(tools, "ctr");
  const { stdout } = await run(program, ["--address", node.containerdSocket, "--namespace", "k8s.io", ...args]);
  return stdout;
}

/**
 * Removes an image by every name it has: the kubelet's side of containerd names each image also by digest and by
 * configuration, and content stays as long as any name does. Waits for its containers to be gone.
 */
export async function removeImage(context: Pick<NodeContext, "node" | "tools">, reference: string): Promise<void> {
  if (reference === PAUSE_IMAGE) throw new Error("pods cannot start without the pause image");
  const rows = (await ctr(context, ["images", "ls"])).split("\n").slice(1);
  const images = rows.map((row) => row.split(/\s+/)).map(([name = "", , digest]) => ({ name, digest }));
  const wanted = images.find(({ name }) => name === reference);
  if (!wanted)
    throw new Error(`no image ${reference} on the node; it has ${images.map(({ name }) => name).join(", ")}`);
  const names = images.filter(({ digest }) => digest === wanted.digest).map(({ name }) => name);
  await waitFor(() => unused(context, names), {
    what: `containers of ${reference} to be gone`,
    components: [],
    timeoutMs: 90_000,
  });
  await ctr(context, ["images", "rm", "--sync", ...names]);
}

/** A container, also a dead one, keeps its layers unpacked: a later pull would then fetch none of them. */
async function unused(context: Pick<NodeContext, "node" | "tools">, names: readonly string[]): Promise<boolean> {
  const rows = (await ctr(context, ["containers", "ls"])).split("\n").slice(1);
  return !rows.some((row) => names.includes(row.split(/\s+/)[1] ?? ""));
}

export function requireTool(tools: Readonly<Record<string, string>>, name: string): string {
  const path = tools[name];
  if (!path) throw new Error(`the cluster was not given the tool ${name}`);
  return path;
}

async function configuration(node: NodeLayout, { plugins, runc }: { plugins: string; runc: string }): Promise<string> {
  const quote = JSON.stringify;
  return `version = 3
imports = []
root = ${quote(node.containerd)}
state = ${quote(node.containerdState)}

[grpc]
  address = ${quote(node.containerdSocket)}

[plugins.'io.containerd.internal.v1.opt']
  path = ${quote(join(node.root, "opt"))}

[plugins.'io.containerd.cri.v1.images']
  snapshotter = ${quote(await snapshotter(node))}
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = ${quote(node.certsDir)}
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = ${quote(PAUSE_IMAGE)}

[plugins.'io.containerd.cri.v1.runtime']
  # Lowering an oom_score_adj needs CAP_SYS_RESOURCE, which a build machine may lack.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = ${quote(runc)}
  Root = ${quote(join(node.root, "runc"))}
  SystemdCgroup = false
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = [${quote(plugins)}]
  conf_dir = ${quote(node.cni)}
  use_internal_loopback = true
`;
}

/** An overlay on an overlay is refused by the kernel: inside a container the plain copying snapshotter must do. */
async function snapshotter(node: NodeLayout): Promise<string> {
  const { stdout } = await run("stat", ["--file-system", "--format=%T", node.root]);
  return stdout.trim() === "overlayfs" ? "native" : "overlayfs";
}

async function writeCniConfiguration(node: NodeLayout): Promise<void> {
  await mkdir(node.cni, { recursive: true });
  const document = {
    cniVersion: "1.0.0",
    name: NETWORK.name,
    plugins: [
      {
        type: "bridge",
        bridge: node.bridge,
        isGateway: true,
        ipMasq: true,
        // A pod may reach itself through its own Service.
        hairpinMode: true,
        ipam: {
          type: "host-local",
          dataDir: join(node.root, "cni-addresses"),
          ranges: [[{ subnet: node.podSubnet, gateway: node.gateway }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
  await writeFile(join(node.cni, "10-bridge.conflist"), JSON.stringify(document, null, 2));
}
