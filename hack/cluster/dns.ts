import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Component, waitFor } from "./components.ts";
import type { ClusterContext } from "./context.ts";
import { HEALTH_PORTS, type Layout, NETWORK } from "./layout.ts";

/**
 * Runs CoreDNS beside the other components and gives it the usual Service. Names outside the cluster are those of the
 * hosts file and no others: nothing a pod looks up leaves the machine.
 */
export async function startDns({ layout, start, kubectl }: ClusterContext): Promise<Component> {
  const corefile = join(layout.root, "Corefile");
  const emptyZone = join(layout.root, "empty.zone");
  // hosts answers what it does not know with SERVFAIL, which clients ask again and again; a zone answers NXDOMAIN.
  await writeFile(emptyZone, ". 5 IN SOA localhost. root.localhost. 1 60 60 60 5\n. 5 IN NS localhost.\n");
  await writeHosts(layout, {});
  await writeFile(
    corefile,
    `.:53 {
  bind ${NETWORK.address}
  errors
  ready 127.0.0.1:${HEALTH_PORTS.dns}
  kubernetes ${NETWORK.domain} in-addr.arpa {
    kubeconfig ${layout.kubeconfig}
    pods insecure
    ttl 5
    fallthrough in-addr.arpa
  }
  hosts ${layout.dnsHosts} {
    ttl 1
    reload 500ms
    fallthrough
  }
  file ${emptyZone} .
}
`,
  );
  const coredns = start("coredns", ["-conf", corefile]);
  await kubectl(["apply", "-f", "-"], { input: JSON.stringify({ apiVersion: "v1", kind: "List", items: service() }) });
  return coredns;
}

export async function dnsReady(coredns: Component): Promise<void> {
  const ready = async () => (await fetch(`http://127.0.0.1:${HEALTH_PORTS.dns}/ready`)).ok;
  await waitFor(ready, { what: "CoreDNS ready", components: [coredns] });
}

/** Replaces the names that pods can resolve besides those of the cluster. */
export async function writeHosts(layout: Layout, names: Readonly<Record<string, string>>): Promise<void> {
  const lines = Object.entries(names).map(([name, address]) => `${address} ${name}\n`);
  await writeFile(layout.dnsHosts, `# names outside the cluster\n${lines.join("")}`);
}

/** Service `kube-dns` without a selector, and the endpoint that stands for it: CoreDNS on the bridge. */
function service(): object[] {
  const metadata = { name: "kube-dns", namespace: "kube-system", labels: { "k8s-app": "kube-dns" } };
  const ports = ["UDP", "TCP"].map((protocol) => ({ name: `dns-${protocol.toLowerCase()}`, port: 53, protocol }));
  return [
    { apiVersion: "v1", kind: "Service", metadata, spec: { clusterIP: NETWORK.dnsAddress, ports } },
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { ...metadata, name: "kube-dns-host", labels: { "kubernetes.io/service-name": "kube-dns" } },
      addressType: "IPv4",
      ports,
      endpoints: [{ addresses: [NETWORK.address], conditions: { ready: true } }],
    },
  ];
}
