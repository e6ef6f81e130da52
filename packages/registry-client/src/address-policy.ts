import { BlockList, isIP, isIPv4 } from "node:net";

/**
 * Which addresses a registry that nobody listed may have. A name in a request is only a look-up key; without this anyone
 * who can pull could make us ask the cloud's metadata service, the API server or ourselves.
 */

/** IANA special-purpose address registries (RFC 6890 and successors): everything that is not globally reachable. */
const BLOCKED_IPV4: readonly (readonly [string, number])[] = [
  ["0.0.0.0", 8], // "this network", unspecified
  ["10.0.0.0", 8],
  ["100.64.0.0", 10], // carrier-grade NAT; Alibaba's metadata service
  ["127.0.0.0", 8],
  ["169.254.0.0", 16], // link-local; metadata services
  ["172.16.0.0", 12],
  ["192.0.0.0", 24], // protocol assignments; Oracle's metadata service
  ["192.0.2.0", 24],
  ["192.88.99.0", 24], // 6to4 relays
  ["192.168.0.0", 16],
  ["198.18.0.0", 15], // benchmarks
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4], // multicast
  ["240.0.0.0", 4], // reserved, broadcast
  ["168.63.129.16", 32], // Azure's host agent: a public number that is not on the Internet
];

/** Globally reachable unicast is 2000::/3; inside it, these are not. */
const BLOCKED_IPV6: readonly (readonly [string, number])[] = [
  ["2001::", 23], // protocol assignments, Teredo (carries an IPv4 address), ORCHID
  ["2001:db8::", 32],
  ["3fff::", 20],
];

function blockList(): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of BLOCKED_IPV4) list.addSubnet(network, prefix, "ipv4");
  for (const [network, prefix] of BLOCKED_IPV6) list.addSubnet(network, prefix, "ipv6");
  return list;
}

const blocked = blockList();
const globalUnicast = new BlockList();
globalUnicast.addSubnet("2000::", 3, "ipv6");
const sixToFour = new BlockList();
sixToFour.addSubnet("2002::", 16, "ipv6");
const nat64 = new BlockList();
nat64.addSubnet("64:ff9b::", 96, "ipv6");

/** The eight 16-bit groups. The URL parser writes every form of an IPv6 address in the same way. */
function groupsOf(address: string): number[] {
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = "", tail] = text.split("::");
  const parse = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const before = parse(head);
  const after = parse(tail ?? "");
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/**
 * May the policy `public` dial this address? It must be globally reachable unicast, also where it embeds an IPv4 address
 * (NAT64 RFC 6052, 6to4 RFC 3056). Anything that is no address is refused.
 */
export function isPublicAddress(address: string): boolean {
  // A zone (`fe80::1%eth0`) makes sense for local addresses only.
  if (isIP(address) === 0 || address.includes("%")) return false;
  if (isIPv4(address)) return !blocked.check(address, "ipv4");
  const groups = groupsOf(address);
  if (nat64.check(address, "ipv6")) return isPublicAddress(dotted(groups[6] ?? 0, groups[7] ?? 0));
  if (sixToFour.check(address, "ipv6")) return isPublicAddress(dotted(groups[1] ?? 0, groups[2] ?? 0));
  return globalUnicast.check(address, "ipv6") && !blocked.check(address, "ipv6");
}

/** Names that only mean something in somebody's own network: RFC 6761, 6762, 8375, and what is in use besides. */
const PRIVATE_SUFFIXES = [
  "localhost",
  "local",
  "localdomain",
  "internal",
  "intranet",
  "lan",
  "home.arpa",
  "home",
  "corp",
  "private",
  "svc",
];

/**
 * What can be judged of a host that a proxy dials for us: its address is not ours to look up. An address must be public; a
 * name must have a dot and no suffix of private networks.
 */
export function isPublicName(host: string): boolean {
  if (isIP(host) !== 0) return isPublicAddress(host);
  const name = host.toLowerCase().replace(/\.$/, "");
  return name.includes(".") && !PRIVATE_SUFFIXES.some((suffix) => name.endsWith(`.${suffix}`));
}

/** The host of a URL without the brackets of IPv6. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1");
}
